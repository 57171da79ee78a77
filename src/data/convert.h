// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/dtype.h"

namespace dlt::data {

/// Stored numbers to f32: float(double(stored) * scale + offset), each operation rounded by itself,
/// so that every machine gets the same bits.
class Converter {
 public:
  Converter(DType dtype, double scale, double offset);
  /// in: count elements of the dtype, of any alignment.
  void to_f32(const std::byte* in, std::int64_t count, float* out) const;
  /// Whether a stored value can become NaN or infinite.
  [[nodiscard]] bool may_be_non_finite() const { return may_be_non_finite_; }

 private:
  DType dtype_;
  double scale_;
  double offset_;
  bool identity_;
  bool may_be_non_finite_;
  std::array<float, 256> table_{};  // u8 only
};

/// Index of the first NaN or infinity, or -1.
[[nodiscard]] std::int64_t find_non_finite(const float* values, std::int64_t count);

/// The integers that class labels or tokens may be: [lowest, limit).
struct LabelRange {
  std::int64_t lowest = 0;  // 0 or -1
  std::int64_t limit = std::int64_t{1} << 31;
};

/// Class labels or tokens to i32. Returns the index of the first that is not an integer of the
/// range, or -1.
[[nodiscard]] std::int64_t to_labels(DType dtype, const std::byte* in, std::int64_t count,
                                     const LabelRange& range, std::int32_t* out);

[[nodiscard]] double element_value(DType dtype, const std::byte* in);
/// One stored number, for a message.
[[nodiscard]] std::string element_text(DType dtype, const std::byte* in);

}  // namespace dlt::data
