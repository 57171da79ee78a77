// SPDX-License-Identifier: Apache-2.0
#include "cuda_emulator/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <sys/mman.h>

#include "cuda_emulator/report.h"

namespace dlt::emulator {
namespace {

constexpr std::size_t kPage_bytes = 4096;
constexpr std::size_t kHuge_bytes = 2 << 20;
constexpr std::size_t kAlign_bytes = 256;
constexpr std::size_t kRegion_bytes = std::size_t{256} << 30;
constexpr std::byte kBehind{0xa5};

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

DeviceMemory::DeviceMemory() {
  void* memory = mmap(nullptr, kRegion_bytes + kHuge_bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("no addresses for a device's memory");
  memory_ = static_cast<std::byte*>(memory);
  const auto at = reinterpret_cast<std::uintptr_t>(memory);
  begin_ = next_ = memory_ + (round_up(at, kHuge_bytes) - at);
}

DeviceMemory::~DeviceMemory() { munmap(memory_, kRegion_bytes + kHuge_bytes); }

void* DeviceMemory::allocate(std::size_t bytes, std::size_t limit_bytes) {
  const std::size_t body_bytes = round_up(bytes, kAlign_bytes);
  if (body_bytes > limit_bytes || used_bytes_ > limit_bytes - body_bytes) return nullptr;
  Allocation made;
  made.bytes = bytes;
  made.pages = next_;
  made.pages_bytes = round_up(body_bytes, kPage_bytes);
  if (made.pages_bytes >= kHuge_bytes) {
    // To open and close a page costs as much as 2 MiB in one.
    const auto at = static_cast<std::size_t>(next_ - begin_);
    made.pages = begin_ + round_up(at, kHuge_bytes);
    madvise(made.pages, made.pages_bytes, MADV_HUGEPAGE);
  }
  made.data = made.pages + (made.pages_bytes - body_bytes);
  if (static_cast<std::size_t>(made.pages - begin_) + made.pages_bytes + kPage_bytes >
      kRegion_bytes) {
    fail("a device's addresses are used up");
  }
  next_ = made.pages + made.pages_bytes + kPage_bytes;
  if (mprotect(made.pages, made.pages_bytes, PROT_READ | PROT_WRITE) != 0) {
    fail("mprotect of device memory failed: too many allocations");
  }
  std::memset(made.pages, 0xff, made.pages_bytes);
  std::fill(made.data + bytes, made.data + body_bytes, kBehind);
  if (!is_open_) mprotect(made.pages, made.pages_bytes, PROT_NONE);
  live_.emplace(made.data, made);
  used_bytes_ += body_bytes;
  return made.data;
}

bool DeviceMemory::free(void* data) {
  const auto at = live_.find(static_cast<std::byte*>(data));
  if (at == live_.end()) return false;
  const Allocation& gone = at->second;
  used_bytes_ -= round_up(gone.bytes, kAlign_bytes);
  mprotect(gone.pages, gone.pages_bytes, PROT_NONE);
  madvise(gone.pages, gone.pages_bytes, MADV_DONTNEED);
  live_.erase(at);
  return true;
}

bool DeviceMemory::covers(const void* address) const {
  const auto* at = static_cast<const std::byte*>(address);
  return at >= begin_ && at < begin_ + kRegion_bytes;
}

const Allocation* DeviceMemory::find(const void* address) const {
  const auto* at = static_cast<const std::byte*>(address);
  auto next = live_.upper_bound(at);
  if (next == live_.begin()) return nullptr;
  const Allocation& before = std::prev(next)->second;
  return at <= before.data + before.bytes ? &before : nullptr;
}

void DeviceMemory::open() {
  if (is_open_) return;
  is_open_ = true;
  for (const auto& [data, allocation] : live_) {
    mprotect(allocation.pages, allocation.pages_bytes, PROT_READ | PROT_WRITE);
  }
}

void DeviceMemory::close() {
  if (!is_open_) return;
  is_open_ = false;
  for (const auto& [data, allocation] : live_) {
    check_end(allocation);
    mprotect(allocation.pages, allocation.pages_bytes, PROT_NONE);
  }
}

void DeviceMemory::check_end(const Allocation& allocation) const {
  const std::byte* end = allocation.data + round_up(allocation.bytes, kAlign_bytes);
  for (const std::byte* at = allocation.data + allocation.bytes; at < end; ++at) {
    if (*at != kBehind) {
      fail("device work wrote " + std::to_string(at - allocation.data - allocation.bytes) +
           " bytes past the end of an allocation of " + std::to_string(allocation.bytes));
    }
  }
}

const std::pair<std::byte* const, PinnedMemory::Range>* PinnedMemory::find(
    const void* address) const {
  auto* at = static_cast<std::byte*>(const_cast<void*>(address));
  auto next = ranges_.upper_bound(at);
  if (next == ranges_.begin()) return nullptr;
  const auto& before = *std::prev(next);
  return at < before.first + before.second.bytes ? &before : nullptr;
}

void PinnedMemory::clear() {
  for (const auto& [data, range] : ranges_) {
    if (!range.is_registered) std::free(data);
  }
  ranges_.clear();
}

}  // namespace dlt::emulator
