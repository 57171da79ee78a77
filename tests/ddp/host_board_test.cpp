// SPDX-License-Identifier: Apache-2.0
#include "ddp/host_board.h"

#include <cstring>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/run_ranks.h"
#include "tensor/storage.h"

namespace dlt::ddp {
namespace {

constexpr HostBoard::Sizes kSizes{.num_buckets = 3, .message_bytes = 20};

struct HostBoardTest : testing::Test {
  tensor::Storage memory = tensor::Storage::allocate(2 * HostBoard::num_bytes(kSizes));
  std::unique_ptr<comm::Communicator> comm = comm::make_self();
  HostWait wait{*comm, {.timeout_s = 0.01}};

  HostBoard board(std::size_t self) {
    return {{memory.data(), memory.data() + HostBoard::num_bytes(kSizes)}, {4, 7}, self, kSizes};
  }
};

TEST_F(HostBoardTest, MismatchNamesBothSides) {
  board(1).post_final({.step = 5, .bucket = 2, .sequence = 5});
  try {
    board(0).wait_final(1, {.step = 4, .bucket = 2, .sequence = 5}, wait);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::internal);
    EXPECT_STREQ(error.what(), "rank 7 sent step 5 bucket 2, rank 4 expected step 4 bucket 2");
  }
}

TEST_F(HostBoardTest, OtherGenerationIsNamed) {
  board(1).post_final({.generation = 1, .step = 4, .bucket = 0, .sequence = 1});
  try {
    board(0).wait_final(1, {.generation = 2, .step = 4, .bucket = 0, .sequence = 1}, wait);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "rank 7 sent generation 1 step 4 bucket 0, rank 4 expected generation 2 step 4 "
                 "bucket 0");
  }
}

TEST_F(HostBoardTest, StampOfTheStepBeforeIsNotThisOnes) {
  HostBoard peer = board(1);
  peer.post_final({.step = 4, .bucket = 1, .sequence = 1});
  EXPECT_THROW(board(0).wait_final(1, {.step = 4, .bucket = 1, .sequence = 2}, wait), Error);
}

TEST_F(HostBoardTest, WaitThatLastsTooLongSaysForWhatAndFromWhom) {
  try {
    board(0).wait_summed(1, {.step = 9, .bucket = 1, .sequence = 1}, wait);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::peer_lost);
    EXPECT_STREQ(error.what(), "rank 0: waited 0.01 s for bucket 1 of step 9 from rank 7");
  }
}

TEST_F(HostBoardTest, SummedCountsAllBucketsBefore) {
  board(1).post_summed({.step = 0, .bucket = 2, .sequence = 1});
  board(0).wait_summed(1, {.step = 0, .bucket = 0, .sequence = 1}, wait);
  EXPECT_THROW(board(0).wait_summed(1, {.step = 1, .bucket = 0, .sequence = 2}, wait), Error);
}

TEST(HostBoard, MessagesOfManyStepsNeverMix) {
  constexpr int kRanks = 3;
  constexpr HostBoard::Sizes sizes{.num_buckets = 0, .message_bytes = 8};
  run_ranks(kRanks, [&](comm::Communicator& comm) {
    const auto memory = comm.share(HostBoard::num_bytes(sizes));
    std::vector<std::byte*> boards;
    for (int r = 0; r < kRanks; ++r) boards.push_back(memory->segment(r));
    HostBoard board(boards, {0, 1, 2}, static_cast<std::size_t>(comm.rank()), sizes);
    const HostWait wait(comm, {});
    for (std::int64_t step = 1; step <= 2000; ++step) {
      const std::int64_t mine = step * 10 + comm.rank();
      std::vector<std::int64_t> all(kRanks);
      board.allgather({.step = step, .sequence = step}, &mine, all.data(), wait);
      for (std::size_t r = 0; r < kRanks; ++r) {
        ASSERT_EQ(all[r], step * 10 + static_cast<std::int64_t>(r));
      }
    }
  });
}

}  // namespace
}  // namespace dlt::ddp
