// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/backend.h"

namespace dlt::optim {

/// The scalars of a step's update kernels in device memory, so that a captured step reads those of
/// each new step. A row is one kernel's.
class ScalarTable {
 public:
  static constexpr std::size_t kColumns = 16;
  ScalarTable(tensor::Backend& device, std::size_t num_rows);

  enum class Mode : std::uint8_t {
    fill,    // the host's rows are filled in, no kernel is given to the device
    launch,  // kernels are given to the device, to read their rows
  };
  /// From the first row on.
  void begin(Mode mode);
  [[nodiscard]] bool launches() const { return mode_ == Mode::launch; }
  /// The next kernel's. Returns where its row is on the device.
  const double* next(std::span<const double> scalars);
  /// Where the rows are on the device.
  [[nodiscard]] double* device_rows() const { return reinterpret_cast<double*>(rows_.data()); }
  /// The rows that were filled in travel; the queue must be through with earlier ones.
  void send(tensor::Queue& queue);

 private:
  Mode mode_ = Mode::fill;
  std::size_t num_rows_, next_ = 0;
  tensor::Storage staging_, rows_;
};

}  // namespace dlt::optim
