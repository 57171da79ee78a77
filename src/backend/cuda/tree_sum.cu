// SPDX-License-Identifier: Apache-2.0
// tree_sum: [count] from one or more [count], all f32 or all bf16, added in f32 along a binary tree
// over them, left to right; the result f32 or bf16. Attribute merges: for each input, how many
// additions (of the two newest values) follow it. One input is copied or converted.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "backend/cuda/elements.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

/// Sources of one launch: as many as fit a kernel's arguments, which take 4 KiB.
constexpr int kMost = 448;
constexpr int kFew = 16;
/// Values that wait for their right side.
constexpr int kDepth = 32;

template <int kSize>
struct Sources {
  const void* from[kSize];
  std::uint8_t merges[kSize];
  int count;
};

struct alignas(8) FourNarrow {
  __nv_bfloat16 x[4];
};

__device__ inline Four load(const float* from, std::int64_t group, std::int64_t count,
                            bool aligned) {
  return load_four(from, group, count, aligned);
}

__device__ inline Four load(const __nv_bfloat16* from, std::int64_t group, std::int64_t count,
                            bool aligned) {
  const std::int64_t at = 4 * group;
  Four four{};
  if (aligned && at + 4 <= count) {
    const FourNarrow narrow = reinterpret_cast<const FourNarrow*>(from)[group];
    for (int u = 0; u < 4; ++u) four.x[u] = __bfloat162float(narrow.x[u]);
    return four;
  }
  for (int u = 0; u < 4; ++u) {
    if (at + u < count) four.x[u] = __bfloat162float(from[at + u]);
  }
  return four;
}

__device__ inline void store(float* to, const Four& four, std::int64_t group, std::int64_t count,
                             bool aligned) {
  store_four(to, four, group, count, aligned);
}

__device__ inline void store(__nv_bfloat16* to, const Four& four, std::int64_t group,
                             std::int64_t count, bool aligned) {
  const std::int64_t at = 4 * group;
  FourNarrow narrow;
  for (int u = 0; u < 4; ++u) narrow.x[u] = __float2bfloat16_rn(four.x[u]);
  if (aligned && at + 4 <= count) {
    reinterpret_cast<FourNarrow*>(to)[group] = narrow;
    return;
  }
  for (int u = 0; u < 4; ++u) {
    if (at + u < count) to[at + u] = narrow.x[u];
  }
}

__device__ inline Four plus(const Four& left, const Four& right) {
  Four sum;
  for (int u = 0; u < 4; ++u) sum.x[u] = left.x[u] + right.x[u];
  return sum;
}

template <typename From, typename To, int kSize>
__global__ void __launch_bounds__(kThreads)
    tree_sum_kernel(Sources<kSize> sources, To* to, std::int64_t count, bool aligned) {
  for (std::int64_t group = first_index(); 4 * group < count; group += index_stride()) {
    Four waiting[kDepth];
    int num_waiting = 0;
    Four sum = load(static_cast<const From*>(sources.from[0]), group, count, aligned);
    for (int s = 1; s < sources.count; ++s) {
      const Four next = load(static_cast<const From*>(sources.from[s]), group, count, aligned);
      const int merges = sources.merges[s];
      if (merges == 0) {
        waiting[num_waiting++] = sum;
        sum = next;
        continue;
      }
      sum = plus(sum, next);
      for (int m = 1; m < merges; ++m) sum = plus(waiting[--num_waiting], sum);
    }
    store(to, sum, group, count, aligned);
  }
}

class TreeSum final : public tensor::Kernel {
 public:
  TreeSum(const tensor::KernelSpec& spec, std::vector<std::int64_t> merges,
          const DeviceLibraries& libraries)
      : merges_(std::move(merges)),
        count_(spec.outputs[0].shape.numel()),
        from_(spec.inputs[0].dtype),
        to_(spec.outputs[0].dtype),
        grid_(grid_of(num_groups(count_), libraries)) {}
  void run(const tensor::KernelArgs& args) const override {
    if (count_ == 0) return;
    if (merges_.size() <= kFew) {
      run_with<kFew>(args);
    } else {
      run_with<kMost>(args);
    }
  }

 private:
  template <int kSize>
  void run_with(const tensor::KernelArgs& args) const {
    if (from_ == DType::f32) {
      run_from<float, kSize>(args);
    } else {
      run_from<__nv_bfloat16, kSize>(args);
    }
  }
  template <typename From, int kSize>
  void run_from(const tensor::KernelArgs& args) const {
    if (to_ == DType::f32) {
      run_to<From, float, kSize>(args);
    } else {
      run_to<From, __nv_bfloat16, kSize>(args);
    }
  }
  template <typename From, typename To, int kSize>
  void run_to(const tensor::KernelArgs& args) const {
    Sources<kSize> sources{};
    sources.count = static_cast<int>(merges_.size());
    bool aligned = is_aligned(args.outputs[0].data);
    for (std::size_t s = 0; s < merges_.size(); ++s) {
      sources.from[s] = args.inputs[s].data;
      sources.merges[s] = static_cast<std::uint8_t>(merges_[s]);
      aligned = aligned && is_aligned(sources.from[s]);
    }
    launch(tree_sum_kernel<From, To, kSize>, grid_, stream_of(args), sources,
           args.outputs[0].as<To>(), count_, aligned);
  }

  std::vector<std::int64_t> merges_;
  std::int64_t count_;
  DType from_, to_;
  Grid grid_;
};

/// Whether the additions join all sources, and never more than kDepth values wait.
bool is_tree(const std::vector<std::int64_t>& merges) {
  std::int64_t values = 0;
  for (const std::int64_t additions : merges) {
    ++values;
    if (values > kDepth + 1 || additions < 0 || additions >= values) return false;
    values -= additions;
  }
  return values == 1;
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_tree_sum(const tensor::KernelSpec& spec,
                                              const DeviceLibraries& libraries) {
  const auto is_float = [](DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; };
  std::vector<std::int64_t> merges = spec.attrs.integers("merges");
  if (spec.inputs.empty() || spec.outputs.size() != 1 || spec.inputs.size() > kMost ||
      merges.size() != spec.inputs.size() || !is_tree(merges)) {
    return nullptr;
  }
  const tensor::TensorType& first = spec.inputs[0];
  if (!is_float(first.dtype) || !is_float(spec.outputs[0].dtype) ||
      spec.outputs[0].shape != first.shape ||
      !std::all_of(spec.inputs.begin(), spec.inputs.end(),
                   [&](const tensor::TensorType& type) { return type == first; })) {
    return nullptr;
  }
  return std::make_unique<TreeSum>(spec, std::move(merges), libraries);
}

}  // namespace dlt::cuda
