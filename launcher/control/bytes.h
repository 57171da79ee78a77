// SPDX-License-Identifier: Apache-2.0
// Little-endian numbers, written and read a byte at a time.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace dlt::launcher {

[[nodiscard]] inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

template <typename T>
void put(std::string& out, T value) {
  if constexpr (std::is_same_v<T, double>) {
    put(out, std::bit_cast<std::uint64_t>(value));
  } else if constexpr (std::is_same_v<T, float>) {
    put(out, std::bit_cast<std::uint32_t>(value));
  } else {
    auto rest = static_cast<std::uint64_t>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i, rest >>= 8) out += static_cast<char>(rest & 0xff);
  }
}

/// Reads numbers one after the other; after the end all are 0 and ok() is false.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
  template <typename T>
  [[nodiscard]] T take() {
    if constexpr (std::is_same_v<T, double>) {
      return std::bit_cast<double>(take<std::uint64_t>());
    } else if constexpr (std::is_same_v<T, float>) {
      return std::bit_cast<float>(take<std::uint32_t>());
    } else {
      const std::string_view part = take_text(sizeof(T));
      std::uint64_t value = 0;
      for (std::size_t i = part.size(); i-- > 0;) {
        value = (value << 8) | static_cast<unsigned char>(part[i]);
      }
      return static_cast<T>(value);
    }
  }
  [[nodiscard]] std::string_view take_text(std::size_t num_bytes) {
    if (num_bytes > bytes_.size()) {
      ok_ = false;
      bytes_ = {};
    }
    const std::string_view part = bytes_.substr(0, ok_ ? num_bytes : 0);
    bytes_.remove_prefix(part.size());
    return part;
  }
  /// Everything was there, and nothing is left.
  [[nodiscard]] bool at_end() const { return ok_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace dlt::launcher
