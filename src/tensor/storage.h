// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace dlt::tensor {

inline constexpr std::int64_t kAlignment_bytes = 64;
/// num_bytes and what is missing to the next multiple of it.
[[nodiscard]] inline std::int64_t aligned(std::int64_t num_bytes) {
  return (num_bytes + kAlignment_bytes - 1) / kAlignment_bytes * kAlignment_bytes;
}

/// A block of zeroed memory aligned to 64 bytes (large ones to 2 MiB and advised for huge pages).
/// Copies share it.
class Storage {
 public:
  Storage() = default;
  static Storage allocate(std::int64_t num_bytes);
  /// Memory that somebody else owns and keeps alive.
  static Storage borrow(void* data, std::int64_t num_bytes);
  /// Memory of another kind, given back by `release` with its last copy; not zeroed here.
  static Storage adopt(void* data, std::int64_t num_bytes, std::function<void(void*)> release);
  [[nodiscard]] std::byte* data() const { return data_.get(); }
  [[nodiscard]] std::int64_t size_bytes() const { return size_bytes_; }

 private:
  std::shared_ptr<std::byte> data_;
  std::int64_t size_bytes_ = 0;
};

}  // namespace dlt::tensor
