// SPDX-License-Identifier: Apache-2.0
#include "base/thread_turn.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <thread>

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace dlt {
namespace {

/// Length of the calling thread's turns in nanoseconds, as the kernel tells it.
std::uint64_t turn_ns() {
  std::array<unsigned char, 48> attributes{};
  if (syscall(SYS_sched_getattr, 0, attributes.data(), attributes.size(), 0) != 0) return 0;
  std::uint64_t out = 0;
  std::memcpy(&out, attributes.data() + 24, sizeof out);
  return out;
}

bool kernel_has_turns() {
  utsname name{};
  int major = 0, minor = 0;
  if (uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return major > 6 || (major == 6 && minor >= 12);
}

TEST(ThreadTurn, IsOfTheCallingThreadAlone) {
  if (!kernel_has_turns()) GTEST_SKIP() << "turns of a thread's own came with Linux 6.12";
  const std::uint64_t before = turn_ns();
  std::uint64_t inside = 0;
  std::thread([&] {
    prefer_turns_of(2e-4);
    inside = turn_ns();
  }).join();
  EXPECT_EQ(inside, 200'000u);
  EXPECT_EQ(turn_ns(), before);
}

}  // namespace
}  // namespace dlt
