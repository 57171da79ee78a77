// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "optim/optimizer.h"
#include "tensor/backend.h"

namespace dlt::optim {

/// An optimiser's arithmetic: the device's kernel of that name, or the host function where the
/// device has none. Inputs are {grads}, outputs {params, states...}, all f32 of one length;
/// run.scalars is what the optimiser's file documents.
class UpdateKernel {
 public:
  struct Options {
    std::string_view name;  // "adam_update"
    int num_states = 0;
    tensor::KernelFunction host = nullptr;
  };
  UpdateKernel(const tensor::Backend& backend, const Options& options);

  /// Runs on [args.begin, args.end). Allocates nothing; may be called from several threads for
  /// ranges that do not overlap.
  void run(const UpdateArgs& args, const std::vector<float*>& states,
           std::span<const double> scalars) const;

 private:
  std::unique_ptr<tensor::Kernel> kernel_;
  std::size_t num_states_;
};

}  // namespace dlt::optim
