// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
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

/// The loss of the value of `loss:`.
inline std::unique_ptr<Loss> read_loss_text(const std::string& value) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("l.yaml", "loss: " + value + "\n", diagnostics);
  auto loss = read_loss(root.find("loss"), root.mark, diagnostics);
  EXPECT_NE(loss, nullptr) << diagnostics.text();
  return loss;
}

/// A program with its buffers.
class GraphRun {
 public:
  explicit GraphRun(autodiff::Graph graph)
      : backend_(tensor::make_cpu_backend()),
        program_(std::move(graph), *backend_),
        params(static_cast<std::size_t>(program_.layout().total), 0.0f),
        grads(params),
        executor_(program_, *backend_, params.data()) {
    executor_.bind_gradients(grads.data());
  }

  [[nodiscard]] const tensor::FlatLayout& layout() const { return program_.layout(); }
  [[nodiscard]] const autodiff::Graph& graph() const { return program_.graph(); }

  void bind(const std::string& name, const std::vector<float>& values) {
    executor_.bind_input(name, values.data());
  }
  void bind(const std::string& name, const std::vector<std::int32_t>& values) {
    executor_.bind_input(name, values.data());
  }
  void bind(const std::string& name, const tensor::Tensor& values) {
    executor_.bind_input(name, values.bytes());
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
    executor_.run(context);
  }
  [[nodiscard]] std::vector<float> output(const std::string& name) const {
    const tensor::View view = executor_.output(name);
    return {view.as<const float>(), view.as<const float>() + view.numel()};
  }
  [[nodiscard]] std::vector<float> gradient(const std::string& param) const {
    const tensor::FlatLayout::Entry* entry = layout().find(param);
    EXPECT_NE(entry, nullptr) << param;
    if (entry == nullptr) return {};
    return {grads.begin() + entry->offset, grads.begin() + entry->offset + entry->numel};
  }

 private:
  std::unique_ptr<tensor::Backend> backend_;
  autodiff::Program program_;

 public:
  std::vector<float> params, grads;

 private:
  autodiff::Executor executor_;
};

inline GraphRun training_run(const Model& model, std::int64_t batch, const Loss& loss) {
  autodiff::Graph graph(op_table());
  (void)model.build_training(graph, batch, loss);
  return GraphRun(std::move(graph));
}

inline GraphRun prediction_run(const Model& model, std::int64_t batch) {
  autodiff::Graph graph(op_table());
  (void)model.build_prediction(graph, batch);
  return GraphRun(std::move(graph));
}

inline void expect_near(const std::vector<float>& got, const std::vector<double>& wanted,
                        double tolerance = 2e-6) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(got[i]), wanted[i], tolerance) << "element " << i;
  }
}

}  // namespace dlt::nn
