// SPDX-License-Identifier: Apache-2.0
// A sample call of an op on a device's kernel and on the op's host kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "backend/device_run.h"
#include "backend/kernel_run.h"
#include "ops/ops.h"
#include "support/op_samples.h"

namespace dlt::test {

class KernelCase {
 public:
  KernelCase(const autodiff::OpTable& table, support::OpSample sample, std::uint64_t seed)
      : sample_(std::move(sample)), def_(table.find(sample_.op)) {
    for (std::size_t i = 0; i < sample_.inputs.size(); ++i) {
      tensors_.push_back(support::make_input(sample_, i, DType::f32, seed));
      types_.push_back(tensors_.back().type());
      views_.push_back({tensors_.back().bytes(), types_.back()});
    }
    outputs_ = def_->infer(types_, sample_.attrs);
    sample_ids_.resize(4096);
    std::iota(sample_ids_.begin(), sample_ids_.end(), 100);
    context_.seed = seed;
    context_.epoch = 3;
    context_.sample_ids = sample_ids_;
  }
  KernelCase(const KernelCase&) = delete;
  KernelCase& operator=(const KernelCase&) = delete;

  [[nodiscard]] const autodiff::OpDef& def() const { return *def_; }
  [[nodiscard]] std::string text() const { return support::text(sample_); }
  [[nodiscard]] const std::vector<tensor::TensorType>& output_types() const { return outputs_; }
  /// All that the op allows, one output at a time.
  [[nodiscard]] std::vector<RunOptions> ways_in_place() const {
    std::vector<RunOptions> ways;
    for (std::size_t out = 0; out < outputs_.size(); ++out) {
      for (std::size_t in = 0; in < types_.size(); ++in) {
        const bool first = def_->in_place && out == 0 && in == 0;
        const bool pair = static_cast<int>(out) == def_->also_in_place.output &&
                          static_cast<int>(in) == def_->also_in_place.input;
        if ((first || pair || def_->in_place_all) && types_[in].bytes() == outputs_[out].bytes()) {
          ways.push_back({.in_place = true, .over_output = out, .over_input = in});
        }
      }
    }
    return ways;
  }
  std::span<float> input(std::size_t index) { return tensors_[index].as<float>(); }

  /// Null if the backend has no kernel for it.
  [[nodiscard]] std::unique_ptr<tensor::Kernel> kernel(const tensor::Backend& backend) const {
    const tensor::KernelFactory factory = backend.find(sample_.op);
    if (factory == nullptr) return nullptr;
    return factory({.inputs = types_, .outputs = outputs_, .attrs = sample_.attrs});
  }
  [[nodiscard]] RunResult run(tensor::Backend& backend, RunOptions options = {}) const {
    if (!backend.in_host_memory()) {
      return run_on_device(backend, *kernel(backend), views_, outputs_, context_, options);
    }
    return run_kernel(*kernel(backend), views_, outputs_, context_, options);
  }
  [[nodiscard]] RunResult run_host() const {
    const auto host = def_->host({.inputs = types_, .outputs = outputs_, .attrs = sample_.attrs});
    return run_kernel(*host, views_, outputs_, context_);
  }

 private:
  support::OpSample sample_;
  const autodiff::OpDef* def_;
  std::vector<tensor::Tensor> tensors_;
  std::vector<tensor::TensorType> types_, outputs_;
  std::vector<tensor::View> views_;
  std::vector<std::int64_t> sample_ids_;
  tensor::RunContext context_;
};

}  // namespace dlt::test
