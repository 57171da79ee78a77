// SPDX-License-Identifier: Apache-2.0
#include "optim/scalar_table.h"

#include <algorithm>

#include "base/error.h"

namespace dlt::optim {
namespace {

std::int64_t bytes_of(std::size_t num_rows) {
  return static_cast<std::int64_t>(num_rows * ScalarTable::kColumns * sizeof(double));
}

}  // namespace

ScalarTable::ScalarTable(tensor::Backend& device, std::size_t num_rows)
    : num_rows_(num_rows),
      staging_(device.allocate_staging(bytes_of(num_rows))),
      rows_(device.allocate(bytes_of(num_rows))) {}

void ScalarTable::begin(Mode mode) {
  mode_ = mode;
  next_ = 0;
}

const double* ScalarTable::next(std::span<const double> scalars) {
  DLT_CHECK(next_ < num_rows_ && scalars.size() <= kColumns, "more scalars than there is room for");
  const std::size_t at = next_++ * kColumns;
  if (mode_ == Mode::fill) {
    std::copy(scalars.begin(), scalars.end(), reinterpret_cast<double*>(staging_.data()) + at);
  }
  return reinterpret_cast<const double*>(rows_.data()) + at;
}

void ScalarTable::send(tensor::Queue& queue) {
  queue.copy(rows_.data(), staging_.data(), bytes_of(next_));
}

}  // namespace dlt::optim
