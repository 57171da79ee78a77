// SPDX-License-Identifier: Apache-2.0
// The supervisor: reads the command line, starts ranks and keeps the job alive.
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fs.h"
#include "launcher/failure.h"
#include "launcher/rank_env.h"
#include "launcher/supervise/dlrun_options.h"
#include "launcher/supervise/drill.h"
#include "launcher/supervise/job.h"

namespace dlt::supervise {
namespace {

void print_batch_script(DlrunInvocation& invocation) {
  (void)read_job_config(invocation.batch_config, invocation.batch_overrides);
  BatchJob& job = *invocation.batch;
  job.folder = std::filesystem::current_path().string();
  job.dlrun = std::filesystem::read_symlink("/proc/self/exe").string();
  std::cout << batch_script(job);
}

Exit run(std::vector<std::string> words) {
  DlrunInvocation invocation = read_dlrun_command_line(std::move(words));
  if (invocation.launch) {
    SystemFs fs;
    const SystemClock clock;
    const JobSetup setup =
        prepare_job(*invocation.launch, launcher::process_env(), launcher::own_host());
    return run_job(setup, fs, clock);
  }
  if (invocation.drill) {
    SystemFs fs;
    SystemClock clock;
    return run_drill(*invocation.drill, fs, clock);
  }
  if (invocation.batch) {
    print_batch_script(invocation);
  } else {
    std::cout << invocation.text;
  }
  if (!std::cout.flush()) throw Error(Exit::io, "stdout: the result could not be written");
  return Exit::ok;
}

}  // namespace
}  // namespace dlt::supervise

int main(int argc, char** argv) {
  try {
    return static_cast<int>(dlt::supervise::run({argv + 1, argv + argc}));
  } catch (...) {
    const dlt::launcher::Failure failure = dlt::launcher::current_failure();
    dlt::launcher::print_failure(failure, {});
    return static_cast<int>(failure.exit);
  }
}
