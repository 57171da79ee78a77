// SPDX-License-Identifier: Apache-2.0
// embedding: rows of the weight. A device cannot refuse an id that is none: its row is NaN.
#include <cstdint>
#include <memory>

#include "backend/cuda/copy_rows.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;

__device__ void set_nan(float& x) { x = nanf(""); }
__device__ void set_nan(float4& x) { x = make_float4(nanf(""), nanf(""), nanf(""), nanf("")); }

/// Rows of `width` words of T.
template <typename T>
struct Gather {
  T* y;
  const T* weight;
  const std::int32_t* ids;
  std::int64_t rows, width;  // of the weight
  Divider by_width;

  __device__ void operator()(std::int64_t i) const {
    std::int64_t at = i;
    const std::int64_t id = ids[by_width.take(at)];
    if (id >= 0 && id < rows) {
      y[i] = weight[id * width + at];
    } else {
      set_nan(y[i]);
    }
  }
};

template <typename T>
void gather(const KernelArgs& args) {
  constexpr std::int64_t kWords = sizeof(T) / sizeof(float);
  const tensor::Shape& weight = args.inputs[1].type.shape;
  const std::int64_t width = weight[1] / kWords;
  launch_elements(
      args.inputs[0].numel() * width,
      Gather<T>{args.outputs[0].as<T>(), args.inputs[1].as<const T>(),
                args.inputs[0].as<const std::int32_t>(), weight[0], width, Divider(width)},
      stream_of(args));
}

class Embedding final : public Kernel {
 public:
  void run(const KernelArgs& args) const override {
    const std::int64_t width = args.inputs[1].type.shape[1];
    if (width == 0) return;
    const bool fours = in_fours({args.inputs[1].data, args.outputs[0].data}, width);
    fours ? gather<float4>(args) : gather<float>(args);
  }
};

}  // namespace

std::unique_ptr<Kernel> make_embedding(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<Embedding>() : nullptr;
}

}  // namespace dlt::cuda
