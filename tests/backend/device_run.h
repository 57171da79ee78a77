// SPDX-License-Identifier: Apache-2.0
// One run of a kernel of a device that has memory of its own: what kernel_run.h does in host
// memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/kernel_run.h"
#include "tensor/backend.h"
#include "tensor/kernel.h"

namespace dlt::test {

/// Device memory at a chosen distance from the start of an allocation, with bytes on both sides
/// that nobody may touch; as floats they are NaN.
class GuardedDeviceBuffer {
 public:
  GuardedDeviceBuffer(tensor::Backend& backend, tensor::Queue& queue, std::int64_t num_bytes,
                      std::int64_t misaligned_bytes)
      : queue_(&queue),
        storage_(backend.allocate(2 * kGuard_bytes + misaligned_bytes + num_bytes)),
        num_bytes_(num_bytes),
        front_bytes_(kGuard_bytes + misaligned_bytes) {
    const std::vector<std::byte> guard(static_cast<std::size_t>(storage_.size_bytes()),
                                       std::byte{0xff});
    queue.copy(storage_.data(), guard.data(), storage_.size_bytes());
  }
  [[nodiscard]] std::byte* data() const { return storage_.data() + front_bytes_; }
  void write(const void* from) const { queue_->copy(data(), from, num_bytes_); }
  [[nodiscard]] std::vector<std::byte> read() const {
    std::vector<std::byte> bytes(static_cast<std::size_t>(num_bytes_));
    queue_->copy(bytes.data(), data(), num_bytes_);
    queue_->wait();
    return bytes;
  }
  [[nodiscard]] bool intact() const {
    std::vector<std::byte> all(static_cast<std::size_t>(storage_.size_bytes()));
    queue_->copy(all.data(), storage_.data(), storage_.size_bytes());
    queue_->wait();
    const auto is_guard = [](std::byte byte) { return byte == std::byte{0xff}; };
    return std::all_of(all.begin(), all.begin() + front_bytes_, is_guard) &&
           std::all_of(all.begin() + front_bytes_ + num_bytes_, all.end(), is_guard);
  }

 private:
  static constexpr std::int64_t kGuard_bytes = 256;
  tensor::Queue* queue_;
  tensor::Storage storage_;
  std::int64_t num_bytes_, front_bytes_;
};

/// A host context's seed, epoch, sample ids and scalars in device memory.
class DeviceContext {
 public:
  DeviceContext(tensor::Backend& backend, tensor::Queue& queue, const tensor::RunContext& host)
      : ids_(backend.allocate(static_cast<std::int64_t>(host.sample_ids.size_bytes()))),
        run_(backend.allocate(sizeof(tensor::DeviceRun))),
        queue_(&queue),
        context_(host) {
    queue.copy(ids_.data(), host.sample_ids.data(), ids_.size_bytes());
    set(host.seed, host.epoch);
    context_.queue = &queue;
    context_.device = reinterpret_cast<const tensor::DeviceRun*>(run_.data());
  }
  /// What kernels see from now on, captured ones, too.
  void set(std::uint64_t seed, std::uint64_t epoch) {
    const tensor::DeviceRun run{.seed = seed,
                                .epoch = epoch,
                                .sample_ids = reinterpret_cast<const std::int64_t*>(ids_.data())};
    queue_->copy(run_.data(), &run, sizeof run);
  }
  [[nodiscard]] const tensor::RunContext& get() const { return context_; }

 private:
  tensor::Storage ids_, run_;
  tensor::Queue* queue_;
  tensor::RunContext context_;
};

/// As run_kernel(): views of inputs are in host memory, and so are the results.
inline RunResult run_on_device(tensor::Backend& backend, const tensor::Kernel& kernel,
                               std::span<const tensor::View> inputs,
                               std::span<const tensor::TensorType> output_types,
                               const tensor::RunContext& context, RunOptions options = {}) {
  const std::unique_ptr<tensor::Queue> queue = backend.make_queue();
  std::vector<GuardedDeviceBuffer> buffers;
  std::vector<tensor::View> in, out;
  std::vector<std::size_t> buffer_of;
  for (const tensor::View& input : inputs) {
    buffers.emplace_back(backend, *queue, input.type.bytes(), options.misaligned_bytes);
    buffers.back().write(input.data);
    in.push_back({buffers.back().data(), input.type});
  }
  for (const tensor::TensorType& type : output_types) {
    if (options.in_place && out.size() == options.over_output) {
      out.push_back({in[options.over_input].data, type});
      buffer_of.push_back(options.over_input);
      continue;
    }
    buffers.emplace_back(backend, *queue, type.bytes(), options.misaligned_bytes);
    const std::vector<std::byte> start(static_cast<std::size_t>(type.bytes()), std::byte{0x77});
    buffers.back().write(start.data());
    buffer_of.push_back(buffers.size() - 1);
    out.push_back({buffers.back().data(), type});
  }
  buffers.emplace_back(backend, *queue, kernel.scratch_bytes(), 0);
  const DeviceContext device(backend, *queue, context);
  kernel.run({.inputs = in, .outputs = out, .scratch = buffers.back().data(), .run = device.get()});
  RunResult result;
  for (const std::size_t index : buffer_of) result.outputs.push_back(buffers[index].read());
  for (const GuardedDeviceBuffer& buffer : buffers) result.guards_intact &= buffer.intact();
  return result;
}

}  // namespace dlt::test
