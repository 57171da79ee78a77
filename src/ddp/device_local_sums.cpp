// SPDX-License-Identifier: Apache-2.0
#include "ddp/device_local_sums.h"

#include <array>

namespace dlt::ddp {

DeviceLocalSums::DeviceLocalSums(tensor::Backend& device, const Options& options)
    : total_(options.total), plan_(plan_worker(options.leaves, options.num_leaves)) {
  memory_ = device.allocate(plan_.num_buffers * total_ * static_cast<std::int64_t>(sizeof(float)));
  const std::array<tensor::TensorType, 1> one{tensor::TensorType{tensor::Shape{1}, DType::f32}};
  const tensor::Attrs attrs;
  accumulate_ =
      tensor::require_kernel(device, "accumulate", {.inputs = one, .outputs = one, .attrs = attrs});
}

float* DeviceLocalSums::buffer(int index) const {
  return reinterpret_cast<float*>(memory_.data()) + index * total_;
}

float* DeviceLocalSums::leaf_gradients(int index) const {
  return buffer(plan_.steps[static_cast<std::size_t>(index)].buffer);
}

void DeviceLocalSums::add(int index, std::int64_t begin, std::int64_t end,
                          tensor::Queue& queue) const {
  if (end <= begin) return;
  const tensor::TensorType type{tensor::Shape{end - begin}, DType::f32};
  tensor::RunContext run;
  run.queue = &queue;
  for (const Addition& addition : plan_.steps[static_cast<std::size_t>(index)].additions) {
    const std::array<tensor::View, 1> in{tensor::View{buffer(addition.src) + begin, type}};
    const std::array<tensor::View, 1> out{tensor::View{buffer(addition.dst) + begin, type}};
    accumulate_->run({.inputs = in, .outputs = out, .scratch = nullptr, .run = run});
  }
}

void DeviceLocalSums::add_empty(int index, tensor::Queue& queue) const {
  queue.zero(leaf_gradients(index), total_ * static_cast<std::int64_t>(sizeof(float)));
  add(index, 0, total_, queue);
}

std::vector<float*> DeviceLocalSums::results() const {
  std::vector<float*> out;
  for (const int index : plan_.results) out.push_back(buffer(index));
  return out;
}

}  // namespace dlt::ddp
