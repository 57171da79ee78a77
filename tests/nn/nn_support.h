// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "autodiff/executor.h"
#include "nn/loss.h"
#include "nn/model.h"
#include "ops/ops.h"
#include "tensor/backend.h"
#include "tensor/tensor.h"

namespace dlt::nn {

inline const autodiff::OpTable& op_table() {
  static const autodiff::OpTable table = ops::make_op_table();
  return table;
}

/// The model of a YAML text such as "input: [4]\nlayers: [{dense: {units: 2}}]\n"; fails the test
/// if there is a mistake in it.
inline std::unique_ptr<Model> read_model(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node node = config::parse("m.yaml", yaml, diagnostics);
  auto model = Model::read(&node, node.mark, diagnostics, op_table());
  EXPECT_NE(model, nullptr) << diagnostics.text();
  return model;
}

/// What is wrong with the YAML text of a model; fails the test if nothing is.
inline std::string mistakes(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node node = config::parse("m.yaml", yaml, diagnostics);
  EXPECT_EQ(Model::read(&node, node.mark, diagnostics, op_table()), nullptr) << yaml;
  return diagnostics.text();
}

/// The loss of the value of `loss:`.
inline std::unique_ptr<Loss> read_loss_text(const std::string& value) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("l.yaml", "loss: " + value + "\n", diagnostics);
  auto loss = read_loss(root.find("loss"), root.mark, diagnostics);
  EXPECT_NE(loss, nullptr) << diagnostics.text();
  return loss;
}

/// A program with its buffers, which are the host's; on a device with memory of its own run()
/// copies them there and back.
class GraphRun {
 public:
  explicit GraphRun(autodiff::Graph graph,
                    std::unique_ptr<tensor::Backend> backend = tensor::make_cpu_backend())
      : backend_(std::move(backend)),
        queue_(backend_->make_queue()),
        program_(std::move(graph), *backend_),
        params(static_cast<std::size_t>(program_.layout().total), 0.0f),
        grads(params),
        device_params_(on_device(flat_bytes())),
        device_grads_(on_device(flat_bytes())),
        executor_(program_, *backend_, here_or(device_params_, params.data())) {
    executor_.bind_gradients(here_or(device_grads_, grads.data()));
  }

  [[nodiscard]] const tensor::FlatLayout& layout() const { return program_.layout(); }
  [[nodiscard]] const autodiff::Graph& graph() const { return program_.graph(); }

  void bind(const std::string& name, const std::vector<float>& values) {
    bind(name, values.data(), values.size() * sizeof(float));
  }
  void bind(const std::string& name, const std::vector<std::int32_t>& values) {
    bind(name, values.data(), values.size() * sizeof(std::int32_t));
  }
  void bind(const std::string& name, const tensor::Tensor& values) {
    bind(name, values.bytes(), static_cast<std::size_t>(values.type().bytes()));
  }
  void set(const std::string& param, const std::vector<float>& values) {
    const tensor::FlatLayout::Entry* entry = layout().find(param);
    ASSERT_NE(entry, nullptr) << param;
    ASSERT_EQ(entry->numel, static_cast<std::int64_t>(values.size())) << param;
    std::copy(values.begin(), values.end(), params.begin() + entry->offset);
  }
  void run(std::uint64_t seed = 1, std::uint64_t epoch = 0) {
    std::vector<std::int64_t> samples(1024);
    for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<std::int64_t>(i);
    tensor::RunContext context;
    context.seed = seed;
    context.epoch = epoch;
    context.sample_ids = samples;
    if (queue_ == nullptr) {
      executor_.run(context);
    } else {
      run_on_device(context);
    }
  }
  [[nodiscard]] std::vector<float> output(const std::string& name) const {
    const tensor::View view = executor_.output(name);
    std::vector<float> values(static_cast<std::size_t>(view.numel()));
    tensor::copy_now(*backend_, values.data(), view.data, view.type.bytes());
    return values;
  }
  [[nodiscard]] std::vector<float> gradient(const std::string& param) const {
    const tensor::FlatLayout::Entry* entry = layout().find(param);
    EXPECT_NE(entry, nullptr) << param;
    if (entry == nullptr) return {};
    return {grads.begin() + entry->offset, grads.begin() + entry->offset + entry->numel};
  }

 private:
  struct Bound {
    const void* here = nullptr;
    tensor::Storage there;
  };
  [[nodiscard]] std::int64_t flat_bytes() const {
    return program_.layout().total * static_cast<std::int64_t>(sizeof(float));
  }
  [[nodiscard]] tensor::Storage on_device(std::int64_t num_bytes) const {
    return queue_ != nullptr ? backend_->allocate(num_bytes) : tensor::Storage();
  }
  [[nodiscard]] static float* here_or(const tensor::Storage& there, float* here) {
    return there.data() != nullptr ? reinterpret_cast<float*>(there.data()) : here;
  }
  void bind(const std::string& name, const void* values, std::size_t num_bytes) {
    if (queue_ == nullptr) {
      executor_.bind_input(name, values);
      return;
    }
    Bound& bound = bound_[name];
    bound = {values, on_device(static_cast<std::int64_t>(num_bytes))};
    executor_.bind_input(name, bound.there.data());
  }
  void run_on_device(tensor::RunContext context) {
    const auto ids = on_device(static_cast<std::int64_t>(context.sample_ids.size_bytes()));
    const tensor::DeviceRun run{.seed = context.seed,
                                .epoch = context.epoch,
                                .sample_ids = reinterpret_cast<std::int64_t*>(ids.data())};
    const auto device_run = on_device(sizeof(run));
    queue_->copy(ids.data(), context.sample_ids.data(), ids.size_bytes());
    queue_->copy(device_run.data(), &run, sizeof(run));
    queue_->copy(device_params_.data(), params.data(), flat_bytes());
    for (const auto& [name, bound] : bound_) {
      queue_->copy(bound.there.data(), bound.here, bound.there.size_bytes());
    }
    context.queue = queue_.get();
    context.device = reinterpret_cast<const tensor::DeviceRun*>(device_run.data());
    executor_.run(context);
    queue_->copy(grads.data(), device_grads_.data(), flat_bytes());
    queue_->wait();
  }

  std::unique_ptr<tensor::Backend> backend_;
  std::unique_ptr<tensor::Queue> queue_;  // null in host memory
  autodiff::Program program_;

 public:
  std::vector<float> params, grads;

 private:
  tensor::Storage device_params_, device_grads_;
  std::map<std::string, Bound> bound_;
  autodiff::Executor executor_;
};

inline GraphRun training_run(
    const Model& model, std::int64_t batch, const Loss& loss,
    std::unique_ptr<tensor::Backend> backend = tensor::make_cpu_backend()) {
  autodiff::Graph graph(op_table());
  (void)model.build_training(graph, batch, loss);
  return GraphRun(std::move(graph), std::move(backend));
}

inline GraphRun prediction_run(
    const Model& model, std::int64_t batch,
    std::unique_ptr<tensor::Backend> backend = tensor::make_cpu_backend()) {
  autodiff::Graph graph(op_table());
  (void)model.build_prediction(graph, batch);
  return GraphRun(std::move(graph), std::move(backend));
}

inline void expect_near(const std::vector<float>& got, const std::vector<double>& wanted,
                        double tolerance = 2e-6) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(got[i]), wanted[i], tolerance) << "element " << i;
  }
}

}  // namespace dlt::nn
