// SPDX-License-Identifier: Apache-2.0
#include "data/convert.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/error.h"
#include "base/text.h"

namespace dlt::data {
namespace {

struct Half {
  std::uint16_t bits;
  operator double() const { return static_cast<double>(f16_to_f32(bits)); }
};
struct Brain {
  std::uint16_t bits;
  operator double() const { return static_cast<double>(bf16_to_f32(bits)); }
};

template <typename T>
struct Tag {
  using type = T;
};

/// Calls f(Tag<T>{}) with the C++ type of the dtype.
template <typename F>
decltype(auto) with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(Tag<float>{});
    case DType::f64:
      return f(Tag<double>{});
    case DType::f16:
      return f(Tag<Half>{});
    case DType::bf16:
      return f(Tag<Brain>{});
    case DType::i8:
      return f(Tag<std::int8_t>{});
    case DType::u8:
    case DType::boolean:
      return f(Tag<std::uint8_t>{});
    case DType::i16:
      return f(Tag<std::int16_t>{});
    case DType::u16:
      return f(Tag<std::uint16_t>{});
    case DType::i32:
      return f(Tag<std::int32_t>{});
    case DType::u32:
      return f(Tag<std::uint32_t>{});
    case DType::i64:
      return f(Tag<std::int64_t>{});
    case DType::u64:
      return f(Tag<std::uint64_t>{});
  }
  throw Error(Exit::internal, "unknown dtype");
}

template <typename T>
T load(const std::byte* in, std::int64_t index) {
  T value;
  std::memcpy(&value, in + index * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <typename T>
void scale_all(const std::byte* in, std::int64_t count, double scale, double offset,
               float* __restrict out) {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(static_cast<double>(load<T>(in, i)) * scale + offset);
  }
}

/// The whole block first, without a branch an element; the first bad one only if there is one.
template <typename T>
std::int64_t labels_of(const std::byte* in, std::int64_t count, const LabelRange& range,
                       std::int32_t* __restrict out) {
  const auto fits = [&range](T value) {
    if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
      return static_cast<std::int64_t>(value) >= range.lowest &&
             static_cast<std::int64_t>(value) < range.limit;
    } else if constexpr (std::is_integral_v<T>) {
      return static_cast<std::uint64_t>(value) < static_cast<std::uint64_t>(range.limit);
    } else {
      const double number = static_cast<double>(value);
      // Written so that NaN fails too.
      return number >= static_cast<double>(range.lowest) &&
             number < static_cast<double>(range.limit) && number == std::trunc(number);
    }
  };
  bool good = true;
  for (std::int64_t i = 0; i < count; ++i) {
    const T value = load<T>(in, i);
    const bool fine = fits(value);
    good = good && fine;
    if constexpr (std::is_integral_v<T>) {
      out[i] = static_cast<std::int32_t>(value);
    } else {
      out[i] = fine ? static_cast<std::int32_t>(static_cast<double>(value)) : 0;
    }
  }
  if (good) return -1;
  std::int64_t bad = 0;
  while (fits(load<T>(in, bad))) ++bad;
  return bad;
}

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::f16 || dtype == DType::bf16;
}

}  // namespace

Converter::Converter(DType dtype, double scale, double offset)
    : dtype_(dtype), scale_(scale), offset_(offset), identity_(scale == 1.0 && offset == 0.0) {
  // No integer is larger than 2^64.
  const double largest = std::abs(scale) * 0x1.0p64 + std::abs(offset);
  may_be_non_finite_ =
      is_float(dtype) || !(largest < static_cast<double>(std::numeric_limits<float>::max()));
  if (dtype == DType::u8) {
    for (std::size_t i = 0; i < table_.size(); ++i) {
      table_[i] = static_cast<float>(static_cast<double>(i) * scale + offset);
    }
  }
}

void Converter::to_f32(const std::byte* in, std::int64_t count, float* out) const {
  if (dtype_ == DType::u8) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = table_[static_cast<std::uint8_t>(in[i])];
    return;
  }
  if (dtype_ == DType::f32 && identity_) {
    std::memcpy(out, in, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  with_type(dtype_, [&](auto tag) {
    scale_all<typename decltype(tag)::type>(in, count, scale_, offset_, out);
  });
}

std::int64_t find_non_finite(const float* values, std::int64_t count) {
  constexpr std::int64_t kBlock = 4096;
  constexpr std::uint32_t kExponent = 0x7F800000u;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t end = begin + kBlock < count ? begin + kBlock : count;
    std::uint32_t bad = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(values[i]);
      bad |= (bits & kExponent) == kExponent ? 1u : 0u;
    }
    if (bad == 0) continue;
    for (std::int64_t i = begin; i < end; ++i) {
      if (!std::isfinite(values[i])) return i;
    }
  }
  return -1;
}

std::int64_t to_labels(DType dtype, const std::byte* in, std::int64_t count,
                       const LabelRange& range, std::int32_t* out) {
  return with_type(dtype, [&](auto tag) {
    return labels_of<typename decltype(tag)::type>(in, count, range, out);
  });
}

double element_value(DType dtype, const std::byte* in) {
  return with_type(dtype, [&](auto tag) {
    return static_cast<double>(load<typename decltype(tag)::type>(in, 0));
  });
}

std::string element_text(DType dtype, const std::byte* in) {
  return with_type(dtype, [&](auto tag) -> std::string {
    using T = typename decltype(tag)::type;
    const T value = load<T>(in, 0);
    if constexpr (std::is_integral_v<T>) {
      return std::to_string(value);
    } else {
      return cat(static_cast<double>(value));
    }
  });
}

}  // namespace dlt::data
