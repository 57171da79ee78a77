// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/dropout.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "base/error.h"
#include "base/text.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

__global__ void dropout_kernel(float* y, const float* x, std::int64_t count, bool aligned,
                               Dropout dropout, const tensor::DeviceRun* run) {
  const tensor::DeviceRun now = *run;
  const std::int64_t groups = (count + 3) / 4;
  for (std::int64_t g = first_index(); g < groups; g += index_stride()) {
    const Four four = load_four(x, g, count, aligned);
    store_four(y, dropout.apply(four, 4 * g, count, now), g, count, aligned);
  }
}

class DropoutKernel final : public tensor::Kernel {
 public:
  DropoutKernel(const tensor::KernelForm& form, const DeviceLibraries& libraries)
      : samples_(form.rows),
        count_(form.rows * form.cols),
        dropout_(form),
        grid_(grid_of(num_groups(count_), libraries)) {}
  void run(const tensor::KernelArgs& args) const override {
    if (count_ == 0) return;
    check_sample_ids(args.run, samples_);
    auto* y = args.outputs[0].as<float>();
    const auto* x = args.inputs[0].as<const float>();
    launch(dropout_kernel, grid_, stream_of(args), y, x, count_, is_aligned(y) && is_aligned(x),
           dropout_, args.run.device);
  }

 private:
  std::int64_t samples_, count_;
  Dropout dropout_;
  Grid grid_;
};

}  // namespace

void check_sample_ids(const tensor::RunContext& run, std::int64_t samples) {
  DLT_CHECK(run.device != nullptr, "a run without its device's part");
  DLT_CHECK(static_cast<std::int64_t>(run.sample_ids.size()) >= samples,
            cat(run.sample_ids.size(), " sample ids for ", samples, " samples"));
}

std::unique_ptr<tensor::Kernel> make_dropout(const tensor::KernelSpec& spec,
                                             const DeviceLibraries& libraries) {
  tensor::SpecForm form;
  if (!tensor::forms::dropout(spec, form)) return nullptr;
  return std::make_unique<DropoutKernel>(form.numbers, libraries);
}

}  // namespace dlt::cuda
