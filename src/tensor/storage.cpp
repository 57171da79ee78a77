// SPDX-License-Identifier: Apache-2.0
#include "tensor/storage.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include <sys/mman.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt::tensor {
namespace {

constexpr std::int64_t kHugePage_bytes = std::int64_t{2} << 20;

std::int64_t round_up(std::int64_t bytes, std::int64_t multiple) {
  return (bytes + multiple - 1) / multiple * multiple;
}

[[noreturn]] void out_of_memory(std::int64_t num_bytes) {
  throw Error(Exit::unavailable,
              cat("memory: cannot allocate ", num_bytes, " bytes: ", std::strerror(errno)));
}

// Mapped, not cleared by hand: the kernel gives zeroed pages on first touch, close to the core that
// touches them.
std::shared_ptr<std::byte> map_huge(std::int64_t num_bytes) {
  const std::int64_t size = round_up(num_bytes, kHugePage_bytes);
  const auto mapped_bytes = static_cast<std::size_t>(size + kHugePage_bytes);
  void* mapped =
      ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) out_of_memory(num_bytes);
  const auto start = reinterpret_cast<std::uintptr_t>(mapped);
  const auto huge = static_cast<std::uintptr_t>(kHugePage_bytes);
  const std::uintptr_t aligned = (start + huge - 1) / huge * huge;
  auto* data = static_cast<std::byte*>(mapped) + (aligned - start);
  // Advice only: without transparent huge pages everything works, a little slower. Whole pages
  // only: the rest of the last one would be memory that nobody asked for.
  const auto whole = static_cast<std::size_t>(num_bytes / kHugePage_bytes * kHugePage_bytes);
  (void)::madvise(data, whole, MADV_HUGEPAGE);
  return {data, [mapped, mapped_bytes](std::byte*) { (void)::munmap(mapped, mapped_bytes); }};
}

std::shared_ptr<std::byte> allocate_small(std::int64_t num_bytes) {
  const auto size = static_cast<std::size_t>(round_up(num_bytes, kAlignment_bytes));
  auto* data =
      static_cast<std::byte*>(std::aligned_alloc(static_cast<std::size_t>(kAlignment_bytes), size));
  if (data == nullptr) out_of_memory(num_bytes);
  std::memset(data, 0, size);
  return {data, [](std::byte* memory) { std::free(memory); }};
}

}  // namespace

Storage Storage::allocate(std::int64_t num_bytes) {
  DLT_CHECK(num_bytes >= 0, cat(num_bytes, " bytes"));
  Storage storage;
  storage.size_bytes_ = num_bytes;
  if (num_bytes == 0) return storage;
  if (num_bytes > std::numeric_limits<std::int64_t>::max() - 2 * kHugePage_bytes) {
    errno = ENOMEM;
    out_of_memory(num_bytes);
  }
  storage.data_ = num_bytes >= kHugePage_bytes ? map_huge(num_bytes) : allocate_small(num_bytes);
  return storage;
}

Storage Storage::borrow(void* data, std::int64_t num_bytes) {
  DLT_CHECK(num_bytes >= 0, cat(num_bytes, " bytes"));
  Storage storage;
  storage.data_ = std::shared_ptr<std::byte>(static_cast<std::byte*>(data), [](std::byte*) {});
  storage.size_bytes_ = num_bytes;
  return storage;
}

Storage Storage::adopt(void* data, std::int64_t num_bytes, std::function<void(void*)> release) {
  DLT_CHECK(num_bytes >= 0, cat(num_bytes, " bytes"));
  Storage storage;
  storage.data_ = std::shared_ptr<std::byte>(
      static_cast<std::byte*>(data),
      [give_back = std::move(release)](std::byte* memory) { give_back(memory); });
  storage.size_bytes_ = num_bytes;
  return storage;
}

}  // namespace dlt::tensor
