// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/host_pool.h"

#include <gtest/gtest.h>

namespace dlt::supervise {
namespace {

TEST(HostPool, FillsHostsInTheirOrder) {
  const HostPool pool({{"a", 4}, {"b", 4}}, 1);
  const auto placed = pool.place(6);
  ASSERT_EQ(placed.size(), 2U);
  EXPECT_EQ(placed[0].slots, 4);
  EXPECT_EQ(placed[1].slots, 2);
}

TEST(HostPool, AFailedHostIsBackAfterTwoLooksInARow) {
  HostPool pool({{"a", 2}, {"b", 2}}, 1);
  pool.failed("b");
  EXPECT_EQ(pool.room(), 2);
  pool.looked({"b"}, {"b"});
  pool.looked({"b"}, {});
  pool.looked({"b"}, {"b"});
  EXPECT_EQ(pool.room(), 2);
  pool.looked({"b"}, {"b"});
  EXPECT_EQ(pool.room(), 4);
}

TEST(HostPool, AHostThatFailedTwiceIsLeftOut) {
  HostPool pool({{"a", 2}, {"b", 2}}, 1);
  for (int i = 0; i < 2; ++i) {
    pool.failed("b");
    pool.looked({"b"}, {"b"});
    pool.looked({"b"}, {"b"});
  }
  EXPECT_TRUE(pool.left_out("b"));
  EXPECT_EQ(pool.room(), 2);
  EXPECT_TRUE(pool.awaited().empty());
}

TEST(HostPool, AHostThatFailedTwiceIsBetterThanTooFewRanks) {
  HostPool pool({{"a", 2}, {"b", 2}}, 3);
  for (int i = 0; i < 2; ++i) {
    pool.failed("b");
    pool.looked({"b"}, {"b"});
    pool.looked({"b"}, {"b"});
  }
  EXPECT_EQ(pool.room(), 4);
}

TEST(HostPool, HostsThatWereNotAskedKeepTheirState) {
  HostPool pool({{"a", 2}, {"b", 2}}, 1);
  pool.looked({"b"}, {"b"});
  EXPECT_EQ(pool.room(), 4);
}

}  // namespace
}  // namespace dlt::supervise
