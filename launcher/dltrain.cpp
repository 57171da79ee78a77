// SPDX-License-Identifier: Apache-2.0
// The rank program: reads the command line, runs one command, turns failures into exit codes.
#include <iostream>
#include <streambuf>
#include <string>
#include <vector>

#include "base/kill_point.h"
#include "launcher/command.h"
#include "launcher/failure.h"
#include "launcher/stacks.h"

namespace dlt::launcher {
namespace {

/// Swallows what ranks other than 0 would print.
class NullBuffer final : public std::streambuf {
  int overflow(int character) override { return traits_type::not_eof(character); }
};

int run(const std::vector<std::string>& words, const RankEnv& ranks, DlrunLink& dlrun) {
  NullBuffer nowhere;
  std::ostream out(ranks.root() ? std::cout.rdbuf() : &nowhere);
  Invocation invocation = read_command_line(words);
  Exit exit = Exit::ok;
  if (invocation.command) {
    Context context{.ranks = ranks, .dlrun = dlrun, .out = out, .quiet = invocation.quiet};
    exit = invocation.command->run(context);
  } else {
    out << invocation.text;
  }
  if (!out.flush() && exit == Exit::ok) {
    throw Error(Exit::io, "stdout: the result could not be written");
  }
  return static_cast<int>(exit);
}

/// The last words go to dlrun as well.
int run_linked(const std::vector<std::string>& words, const RankEnv& ranks, DlrunLink& dlrun,
               Clock& clock) {
  try {
    const int code = run(words, ranks, dlrun);
    dlrun.ended(static_cast<Exit>(code));
    return code;
  } catch (...) {
    const Failure failure = current_failure();
    dlrun.failed(failure);
    return end_unconnected(failure, ranks, clock);
  }
}

}  // namespace
}  // namespace dlt::launcher

int main(int argc, char** argv) {
  using namespace dlt::launcher;
  dlt::SystemClock clock;
  RankEnv ranks;
  try {
    ranks = read_rank_env();
    write_stacks_on_signal("", "");  // the signal may come before there is a place for them
#ifdef DLTRAIN_KILL_POINTS
    // The first generation alone: those after it are to get through.
    if (!ranks.supervision || ranks.supervision->generation == 1) {
      dlt::arm_kill_points(ranks.kill_plan);
    }
#endif
    DlrunLink dlrun(ranks, clock);
    return run_linked({argv + 1, argv + argc}, ranks, dlrun, clock);
  } catch (...) {
    return end_unconnected(current_failure(), ranks, clock);
  }
}
