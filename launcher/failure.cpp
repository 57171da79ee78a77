// SPDX-License-Identifier: Apache-2.0
#include "launcher/failure.h"

#include <cstdio>
#include <new>

#include "base/text.h"

namespace dlt::launcher {

Failure failure_of(const Error& error) {
  const std::string what = error.what();
  Failure out{.exit = error.exit(), .text = what, .rank = error.rank()};
  if (what.ends_with('\n')) return out;
  const std::string hint = error.hint().empty() ? "" : cat("  hint: ", error.hint(), "\n");
  out.text = cat("dltrain: error: ", what, "\n", hint);
  return out;
}

Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return failure_of(error);
  } catch (const std::bad_alloc&) {
    return {.exit = Exit::internal,
            .text =
                "dltrain: error: out of memory\n"
                "  hint: dltrain check CFG tells what a rank needs\n"};
  } catch (const std::exception& error) {
    return {.exit = Exit::internal,
            .text = cat("dltrain: error: internal error: ", error.what(), "\n")};
  }
}

void print_failure(const Failure& failure, const RankEnv& ranks) {
  const std::string who = ranks.root() ? "" : cat("rank ", ranks.rank, " (", ranks.host, "): ");
  const std::string text = who + failure.text;
  std::fwrite(text.data(), 1, text.size(), stderr);  // one write: lines of ranks do not mix
  std::fflush(stderr);
}

int end_unconnected(const Failure& failure, const RankEnv& ranks, Clock& clock) {
  if (!ranks.root()) clock.sleep_s(1.5);
  print_failure(failure, ranks);
  return static_cast<int>(failure.exit);
}

}  // namespace dlt::launcher
