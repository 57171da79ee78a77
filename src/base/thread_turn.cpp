// SPDX-License-Identifier: Apache-2.0
#include "base/thread_turn.h"

#include <cstdint>

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dlt {
namespace {

/// struct sched_attr of the kernel, first version; Debian 12's libc does not declare it.
struct Attributes {
  std::uint32_t size = sizeof(Attributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0;  // of SCHED_OTHER: the length of a turn; 0: the system's
  std::uint64_t deadline_ns = 0, period_ns = 0;
};
static_assert(sizeof(Attributes) == 48);

}  // namespace

void prefer_turns_of(double turn_s) noexcept {
  Attributes attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != SCHED_OTHER && attributes.policy != SCHED_BATCH) return;
  attributes.size = sizeof attributes;
  attributes.runtime_ns = static_cast<std::uint64_t>(turn_s * 1e9);
  (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace dlt
