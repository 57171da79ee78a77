// SPDX-License-Identifier: Apache-2.0
// One run of a kernel on memory of its own, with guards behind every buffer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "tensor/backend.h"
#include "tensor/kernel.h"

namespace dlt::test {

/// The instruction sets this machine can test.
inline std::vector<std::string> instruction_sets() {
  if (cpu_features().avx512) return {"avx2", "avx512"};
  return {"avx2"};
}
inline bool can_run(const std::string& instruction_set) {
  const std::vector<std::string> sets = instruction_sets();
  return std::find(sets.begin(), sets.end(), instruction_set) != sets.end();
}

/// A buffer at a chosen distance from a 64-byte boundary, followed by bytes nobody may touch.
class GuardedBuffer {
 public:
  GuardedBuffer(std::int64_t num_bytes, std::int64_t misaligned_bytes)
      : storage_(tensor::Storage::allocate(num_bytes + misaligned_bytes +
                                           static_cast<std::int64_t>(kGuard_bytes))),
        data_(storage_.data() + misaligned_bytes),
        guard_(data_ + num_bytes) {
    std::memset(guard_, 0x5a, kGuard_bytes);
  }
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] bool intact() const {
    for (std::size_t i = 0; i < kGuard_bytes; ++i) {
      if (guard_[i] != std::byte{0x5a}) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kGuard_bytes = 256;
  tensor::Storage storage_;
  std::byte* data_;
  std::byte* guard_;
};

struct RunOptions {
  bool in_place = false;  // that output is the memory of that input
  std::size_t over_output = 0, over_input = 0;
  std::int64_t misaligned_bytes = 0;
};

struct RunResult {
  std::vector<std::vector<std::byte>> outputs;
  bool guards_intact = true;

  template <typename T>
  [[nodiscard]] std::vector<T> as(std::size_t index) const {
    std::vector<T> values(outputs[index].size() / sizeof(T));
    std::memcpy(values.data(), outputs[index].data(), outputs[index].size());
    return values;
  }
};

/// Inputs are copied to fresh memory first; outputs start as 0x77 bytes.
inline RunResult run_kernel(const tensor::Kernel& kernel, std::span<const tensor::View> inputs,
                            std::span<const tensor::TensorType> output_types,
                            const tensor::RunContext& context, RunOptions options = {}) {
  std::vector<GuardedBuffer> buffers;
  std::vector<tensor::View> in, out;
  for (const tensor::View& input : inputs) {
    buffers.emplace_back(input.type.bytes(), options.misaligned_bytes);
    if (input.type.bytes() > 0) {
      std::memcpy(buffers.back().data(), input.data, static_cast<std::size_t>(input.type.bytes()));
    }
    in.push_back({buffers.back().data(), input.type});
  }
  for (const tensor::TensorType& type : output_types) {
    if (options.in_place && out.size() == options.over_output) {
      out.push_back({in[options.over_input].data, type});
      continue;
    }
    buffers.emplace_back(type.bytes(), options.misaligned_bytes);
    std::memset(buffers.back().data(), 0x77, static_cast<std::size_t>(type.bytes()));
    out.push_back({buffers.back().data(), type});
  }
  const GuardedBuffer scratch(kernel.scratch_bytes(), 0);
  kernel.run({.inputs = in, .outputs = out, .scratch = scratch.data(), .run = context});
  RunResult result;
  for (const tensor::View& view : out) {
    const auto* bytes = view.as<const std::byte>();
    result.outputs.emplace_back(bytes, bytes + view.type.bytes());
  }
  result.guards_intact = scratch.intact();
  for (const GuardedBuffer& buffer : buffers) result.guards_intact &= buffer.intact();
  return result;
}

}  // namespace dlt::test
