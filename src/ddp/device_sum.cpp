// SPDX-License-Identifier: Apache-2.0
#include "ddp/device_sum.h"

#include <numeric>

#include "base/error.h"
#include "base/text.h"

namespace dlt::ddp {

std::vector<std::int64_t> merges_of(std::size_t num_sources,
                                    const std::vector<Addition>& additions) {
  std::vector<std::int64_t> merges(num_sources, 0);
  std::vector<int> last(num_sources);  // the source at the right end of each sum so far
  std::iota(last.begin(), last.end(), 0);
  for (const Addition& addition : additions) {
    int& end = last[static_cast<std::size_t>(addition.dst)];
    DLT_CHECK(end + 1 == addition.src, "device sum: additions of adjacent sources");
    end = last[static_cast<std::size_t>(addition.src)];
    ++merges[static_cast<std::size_t>(end)];
  }
  DLT_CHECK(num_sources > 0 && last[0] + 1 == static_cast<int>(num_sources),
            "device sum: additions that make one sum");
  return merges;
}

std::vector<std::int64_t> one_after_the_other(std::size_t num_sources) {
  std::vector<std::int64_t> merges(num_sources, 1);
  if (!merges.empty()) merges[0] = 0;
  return merges;
}

void DeviceSum::run(tensor::Queue& queue) const {
  tensor::RunContext context;
  context.queue = &queue;
  kernel_->run({.inputs = inputs_, .outputs = outputs_, .run = context});
}

DeviceSums::DeviceSums(tensor::Backend& device) : factory_(device.find("tree_sum")) {
  if (factory_ != nullptr) return;
  throw Error(Exit::unavailable, cat(device.name(), ": has no kernel tree_sum"));
}

DeviceSum DeviceSums::make(const Options& options) const {
  const tensor::Shape shape{options.count};
  const tensor::TensorType from{shape, options.from_type};
  const tensor::TensorType to{shape, options.to_type};
  const std::vector<tensor::TensorType> inputs(options.from.size(), from);
  const tensor::Attrs attrs{{"merges", options.merges}};
  DeviceSum sum;
  sum.kernel_ = factory_({.inputs = inputs, .outputs = std::span(&to, 1), .attrs = attrs});
  if (sum.kernel_ == nullptr) {
    throw Error(
        Exit::unavailable,
        cat("tree_sum: the device cannot add ", options.from.size(), " nodes of the leaf tree"),
        "train.leaves as a multiple of the ranks by a power of two gives fewer");
  }
  for (const void* source : options.from) {
    // Inputs are read only.
    sum.inputs_.push_back({const_cast<void*>(source), from});
  }
  sum.outputs_.push_back({options.to, to});
  return sum;
}

}  // namespace dlt::ddp
