// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "autodiff/executor.h"
#include "base/clock.h"
#include "tensor/backend.h"

namespace dlt::train {

/// A kernel of a traced step, in seconds of the monotonic clock.
struct KernelSpan {
  std::string name;
  double start_s = 0, end_s = 0;
};

/// When the kernels of leaves run that one thread gives: by the clock where they run on that
/// thread, by events of the device's queue else. Of leaves that are not captured.
class KernelTimes final : public autodiff::CallTimer {
 public:
  KernelTimes(tensor::Backend& device, const Clock& clock) : device_(device), clock_(clock) {}
  /// Before a leaf. queue: null in host memory; waits until the device is through with what it has,
  /// so that its time and the host's can be compared.
  void start(tensor::Queue* queue);
  void called(const autodiff::Node& node) override;
  /// Of all leaves since the last take(), once the device is through with them.
  [[nodiscard]] std::vector<KernelSpan> take();

 private:
  struct Point {
    std::string name;  // of the kernel that ends here; "" where a leaf begins
    double time_s = 0;
    std::size_t event = 0;  // of a device
  };
  [[nodiscard]] std::size_t record();

  tensor::Backend& device_;
  const Clock& clock_;
  tensor::Queue* queue_ = nullptr;
  std::vector<Point> points_;
  std::vector<std::unique_ptr<tensor::Event>> events_;
  std::size_t num_events_ = 0;
};

}  // namespace dlt::train
