// SPDX-License-Identifier: Apache-2.0
// What the recurrent kernels share: the optional operands, the steps' order and the product of each
// step, with the state that it reads packed and rounded by the step before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "backend/cuda/device_libraries.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/recurrent_cells.h"
#include "tensor/kernel.h"

namespace dlt::cuda {

struct RecurrentForm {
  std::int64_t batch = 0, steps = 0, units = 0, gates = 1;
  bool initial = false, masked = false, reverse = false, bias = false;
  bool dy = false, dlast_h = false, dlast_c = false;
  Precision precision = Precision::f32;
  bool weight_is_param = false;

  [[nodiscard]] std::int64_t width() const { return gates * units; }
  [[nodiscard]] std::int64_t state_floats() const { return batch * units; }
  /// The step that runs as number index.
  [[nodiscard]] std::int64_t step(std::int64_t index) const {
    return reverse ? steps - 1 - index : index;
  }
  /// The state before that step: a row of the sequence, or the first state (null: zeros).
  [[nodiscard]] StateRows before(std::int64_t index, const float* sequence,
                                 const float* first) const {
    if (index == 0) return {first, units};
    return {sequence + step(index - 1) * units, steps * units};
  }
};

/// Sizes from input 0, [B, T, gates · units], and the attributes. None for dtypes or precisions
/// that this device does not serve, and for empty sequences. `weight` is the number of that input.
[[nodiscard]] std::optional<RecurrentForm> recurrent_form(const tensor::KernelSpec& spec,
                                                          std::int64_t gates, std::size_t weight);

/// The operands of a run, in their order.
class Operands {
 public:
  explicit Operands(std::span<const tensor::View> views) : views_(views) {}
  [[nodiscard]] float* next() { return views_[next_++].as<float>(); }
  [[nodiscard]] float* next_if(bool present) { return present ? next() : nullptr; }

 private:
  std::span<const tensor::View> views_;
  std::size_t next_ = 0;
};

enum class StepDirection : std::uint8_t {
  forward,   // sums [batch, width] = state · weight
  backward,  // dh [batch, units] += changes [batch, width] · weight^T
};

/// The product of every step. Scratch: the library's workspace, the weight's copy, the packed left
/// operand, and what the kernel itself needs.
class StepProduct {
 public:
  StepProduct(const DeviceLibraries& libraries, const RecurrentForm& form, StepDirection direction);

  [[nodiscard]] std::int64_t scratch_bytes() const { return own_at_; }
  [[nodiscard]] std::int64_t kept_bytes() const;
  /// Where the kernel's own scratch begins; a multiple of 64 bytes.
  [[nodiscard]] float* own_scratch(const tensor::KernelArgs& args) const {
    return reinterpret_cast<float*>(args.scratch + own_at_);
  }
  /// The packed left operand, which cells write.
  [[nodiscard]] void* packed(const tensor::KernelArgs& args) const {
    return args.scratch + packed_at_;
  }
  [[nodiscard]] CellShape cell_shape() const;
  /// Once before the steps: the weight as the library takes it.
  [[nodiscard]] const void* prepare(const tensor::KernelArgs& args, const float* weight) const;
  void pack_state(const tensor::KernelArgs& args, const float* state) const;
  void run(const tensor::KernelArgs& args, const void* weight, float* result) const;

 private:
  RecurrentForm form_;
  std::int64_t packed_columns_;
  std::shared_ptr<const Gemm> gemm_;
  std::int64_t weight_at_ = 0, packed_at_ = 0, own_at_ = 0;
};

/// Bytes of a scratch part.
[[nodiscard]] inline std::int64_t scratch_part(std::int64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

}  // namespace dlt::cuda
