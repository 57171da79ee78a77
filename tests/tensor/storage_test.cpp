// SPDX-License-Identifier: Apache-2.0
#include "tensor/storage.h"

#include <algorithm>
#include <cstdint>

#include <gtest/gtest.h>

#include "base/error.h"
#include "tensor/tensor.h"

namespace dlt::tensor {
namespace {

bool all_zero(const Storage& storage) {
  return std::all_of(storage.data(), storage.data() + storage.size_bytes(),
                     [](std::byte b) { return b == std::byte{0}; });
}

TEST(Storage, SmallBlocksAreZeroedAndAlignedTo64) {
  for (const std::int64_t size : {1, 63, 64, 65, 4096, 1000000}) {
    const Storage storage = Storage::allocate(size);
    EXPECT_EQ(storage.size_bytes(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(storage.data()) % 64, 0u);
    EXPECT_TRUE(all_zero(storage));
  }
}

TEST(Storage, LargeBlocksAreZeroedAndAlignedTo2MiB) {
  const Storage storage = Storage::allocate((5 << 20) + 3);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(storage.data()) % (2u << 20), 0u);
  EXPECT_TRUE(all_zero(storage));
  storage.data()[storage.size_bytes() - 1] = std::byte{1};
}

TEST(Storage, CopiesShareMemory) {
  const Storage a = Storage::allocate(64);
  const Storage b = a;
  a.data()[3] = std::byte{7};
  EXPECT_EQ(b.data()[3], std::byte{7});
}

TEST(Storage, BorrowedMemoryIsNotFreed) {
  std::byte memory[64] = {};
  { const Storage storage = Storage::borrow(memory, 64); }
  memory[0] = std::byte{1};
  EXPECT_EQ(Storage::borrow(memory, 64).data(), memory);
}

TEST(Storage, AskingForTooMuchIsAnError) {
  EXPECT_THROW((void)Storage::allocate(std::int64_t{1} << 62), Error);
  EXPECT_THROW((void)Storage::allocate(-1), Error);
}

TEST(Tensor, IsAViewOfItsStorage) {
  const Storage storage = Storage::allocate(256);
  const Tensor tensor({{2, 4}, DType::f32}, storage, 64);
  tensor.as<float>()[7] = 3.0f;
  EXPECT_EQ(reinterpret_cast<const float*>(storage.data() + 64)[7], 3.0f);
  EXPECT_EQ(tensor.byte_span().size(), 32u);
}

TEST(Tensor, MustLieInsideItsStorage) {
  const Storage storage = Storage::allocate(64);
  EXPECT_THROW(Tensor({{17}, DType::f32}, storage, 0), Error);
  EXPECT_THROW(Tensor({{1}, DType::f32}, storage, 64), Error);
  EXPECT_NO_THROW(Tensor({{16}, DType::f32}, storage, 0));
}

TEST(Tensor, StartsAtZero) {
  const Tensor tensor(Shape{3, 5}, DType::f64);
  for (const double x : tensor.as<double>()) EXPECT_EQ(x, 0.0);
}

}  // namespace
}  // namespace dlt::tensor
