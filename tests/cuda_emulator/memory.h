// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace dlt::emulator {

struct Allocation {
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  std::byte* pages = nullptr;  // what is opened and closed; a page that nobody can touch follows
  std::size_t pages_bytes = 0;
};

/// The memory of one device: a stretch of addresses that can be touched only while open.
class DeviceMemory {
 public:
  DeviceMemory();
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// Filled with NaN; aligned to 256 bytes. Null if it would exceed limit_bytes.
  [[nodiscard]] void* allocate(std::size_t bytes, std::size_t limit_bytes);
  /// False if no allocation begins there.
  [[nodiscard]] bool free(void* data);
  /// Whether the address is one of this device's, live or not.
  [[nodiscard]] bool covers(const void* address) const;
  /// The live allocation that holds the address (or ends at it), or null.
  [[nodiscard]] const Allocation* find(const void* address) const;
  void open();
  /// Ends the process if something wrote past an allocation's end.
  void close();
  [[nodiscard]] std::size_t used_bytes() const { return used_bytes_; }

 private:
  void check_end(const Allocation& allocation) const;
  std::byte* memory_ = nullptr;  // all that was reserved
  std::byte* begin_ = nullptr;   // its first multiple of a large page
  std::byte* next_ = nullptr;
  std::map<const std::byte*, Allocation> live_;
  std::size_t used_bytes_ = 0;
  bool is_open_ = false;
};

/// Host memory that the device may touch: allocated page-locked, or registered.
class PinnedMemory {
 public:
  struct Range {
    std::size_t bytes = 0;
    bool is_registered = false;  // the caller's own
    unsigned flags = 0;
  };
  void add(void* data, Range range) { ranges_[static_cast<std::byte*>(data)] = range; }
  /// The range that holds the address, or null.
  [[nodiscard]] const std::pair<std::byte* const, Range>* find(const void* address) const;
  void remove(void* data) { ranges_.erase(static_cast<std::byte*>(data)); }
  /// Frees what was allocated.
  void clear();

 private:
  std::map<std::byte*, Range> ranges_;
};

}  // namespace dlt::emulator
