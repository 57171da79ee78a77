// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/dlrun_options.h"

#include <algorithm>
#include <iterator>
#include <sstream>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/text.h"
#include "launcher/options.h"
#include "launcher/version.h"

namespace dlt::supervise {
namespace {

using launcher::Options;
constexpr std::int64_t kMany = 1 << 20;

constexpr const char* kSummary =
    "Starts ranks of dltrain under mpirun (or srun inside a Slurm allocation), watches them and\n"
    "starts them again from the newest good state when one of them, a host or the network fails.\n"
    "\n"
    "  dlrun -n 8 CFG                 8 ranks on this machine\n"
    "  dlrun --hosts a:4,b:4 CFG      4 ranks on each of two hosts\n"
    "  dlrun CFG                      inside a Slurm allocation: as many as it has tasks\n"
    "  dlrun sbatch CFG --nodes 2 --ntasks-per-node 4 --time 4:00:00\n"
    "                                 prints a batch script\n"
    "  dlrun drill CFG                breaks a job again and again and compares the weights\n";

/// Options that a job in the queue keeps, too.
struct Common {
  std::string config;
  std::vector<std::string> overrides;
  std::int64_t max_restarts = -1;
  std::string mpirun, starter = "auto", bind = "auto";
  bool quiet = false, version = false;

  void declare(Options& options) {
    options.positional("CFG", config, "YAML file that describes the run");
    options.repeated("--set", overrides, "Override a key: --set train.epochs=5");
    options.integer("--max-restarts", max_restarts, {.min = 0, .max = 1000000},
                    "Restarts without progress before dlrun gives up (default: "
                    "fault.max_restarts)");
    options.text("--mpirun", mpirun, "The mpirun to use (default: that of dltrain's MPI library)");
    options.choice("--starter", starter, {"auto", "mpirun", "srun"},
                   "What starts the ranks (default: auto, mpirun where there is one)");
    options.choice("--bind", bind, {"auto", "none"},
                   "auto (default): a rank with T threads gets T cores; none: the system decides");
    options.flag("-q,--quiet", quiet, "Only results and errors");
    options.flag("--version", version, "Print the version and exit");
  }
  /// The words that say the same again.
  [[nodiscard]] std::vector<std::string> words() const {
    std::vector<std::string> out{config};
    for (const std::string& text : overrides) out.insert(out.end(), {"--set", text});
    if (max_restarts >= 0) out.insert(out.end(), {"--max-restarts", cat(max_restarts)});
    if (!mpirun.empty()) out.insert(out.end(), {"--mpirun", mpirun});
    if (starter != "auto") out.insert(out.end(), {"--starter", starter});
    if (bind != "auto") out.insert(out.end(), {"--bind", bind});
    if (quiet) out.emplace_back("--quiet");
    return out;
  }
};

bool wants(const std::vector<std::string>& words, const char* word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// The text that words ask for in place of doing something, "" if none.
std::string text_asked_for(const CLI::App& app, const std::vector<std::string>& words) {
  if (std::any_of(words.begin(), words.end(), launcher::is_help)) return app.help();
  if (wants(words, "--version")) return dlrun_version() + "\n";
  return {};
}

DlrunInvocation read_launch(std::vector<std::string> words) {
  CLI::App app(kSummary, "dlrun");
  app.get_formatter()->column_width(34);
  Options options(app);
  Common common;
  LaunchOptions out;
  std::int64_t ranks = 0;
  options.integer("-n,--ranks", ranks, {.min = 1, .max = kMany}, "Number of ranks");
  options.text("--hosts", out.hosts, "Hosts and how many ranks each takes: a:4,b:4");
  common.declare(options);
  options.text("--resume", out.resume,
               "auto (default): go on if run.dir holds checkpoints; never: start anew; or the path "
               "of a checkpoint or run to start from");
  options.flag("--overwrite", out.overwrite,
               "Start anew and remove what run.dir holds of an earlier run");
  options.flag("--requeue", out.requeue,
               "Inside a Slurm job: put it back into the queue when it stops before its time ends");
  if (std::string text = text_asked_for(app, words); !text.empty()) return {.text = text};
  launcher::read_words(app, std::move(words));
  out.config = common.config;
  out.overrides = common.overrides;
  out.ranks = ranks;
  if (common.max_restarts >= 0) out.max_restarts = common.max_restarts;
  out.mpirun = common.mpirun;
  out.starter = common.starter;
  out.bind = common.bind;
  out.quiet = common.quiet;
  return {.text = {}, .launch = out, .batch = {}, .batch_config = {}, .batch_overrides = {}};
}

DlrunInvocation read_batch(std::vector<std::string> words) {
  CLI::App app("Prints a batch script for Slurm: dlrun sbatch CFG ... | sbatch", "dlrun sbatch");
  app.get_formatter()->column_width(34);
  Options options(app);
  Common common;
  BatchJob out;
  common.declare(options);
  options.integer("--nodes", out.nodes, {.min = 1, .max = kMany}, "Hosts (default: 1)");
  options.integer("--ntasks-per-node", out.ntasks_per_node, {.min = 1, .max = kMany},
                  "Ranks on each of them (default: 1)");
  options.integer("--cpus-per-task", out.cpus_per_task, {.min = 1, .max = kMany},
                  "Cores of a rank");
  options.text("--time", out.time, "Time limit: 4:00:00, 2-12 ...");
  options.text("--partition", out.partition, "Partition");
  options.text("--account", out.account, "Account");
  options.text("--qos", out.qos, "Quality of service");
  options.text("--job-name", out.name, "Name of the job");
  options.integer("--grace", out.grace_s, {.min = 1, .max = 65535},
                  "Seconds before the end of the time at which the job saves (default: 120)");
  if (std::string text = text_asked_for(app, words); !text.empty()) return {.text = text};
  launcher::read_words(app, std::move(words));
  out.dlrun_words = common.words();
  return {.text = {},
          .launch = {},
          .batch = out,
          .batch_config = common.config,
          .batch_overrides = common.overrides};
}

std::vector<Injection> read_faults(const std::string& text) {
  std::vector<Injection> out;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    std::size_t i = 0;
    while (i < std::size(kInjectionNames) && word != kInjectionNames[i]) ++i;
    if (i == std::size(kInjectionNames)) {
      throw Error(Exit::usage, cat("--faults: expected some of disk,kill,net,stop, got '",
                                   printable(word), "'"));
    }
    out.push_back(static_cast<Injection>(i));
  }
  if (out.empty())
    throw Error(Exit::usage, "--faults: expected some of disk,kill,net,stop, got nothing");
  return out;
}

DlrunInvocation read_drill(std::vector<std::string> words) {
  CLI::App app(
      "Runs a job undisturbed, then again with faults at random moments, and compares the "
      "weights.\n"
      "Writes to the folders reference and faulted of run.dir with -drill behind its name.",
      "dlrun drill");
  app.get_formatter()->column_width(34);
  Options options(app);
  Common common;
  DrillOptions out;
  std::int64_t ranks = 2, seed = 7;
  std::string faults = "kill,stop,disk,net";
  options.integer("-n,--ranks", ranks, {.min = 1, .max = kMany}, "Number of ranks (default: 2)");
  common.declare(options);
  options.text("--faults", faults,
               "Some of kill (SIGKILL of a rank), stop (SIGSTOP), disk (a rank cannot write for a "
               "second), net (a rank's connection to dlrun is cut); default: all of them");
  options.integer("--count", out.count, {.min = 1, .max = 1000000}, "Faults to make (default: 20)");
  options.integer("--seed", seed, {.min = 0, .max = INT64_MAX},
                  "Of the random moments (default: 7)");
  if (std::string text = text_asked_for(app, words); !text.empty()) return {.text = text};
  launcher::read_words(app, std::move(words));
  out.config = common.config;
  out.overrides = common.overrides;
  out.faults = read_faults(faults);
  out.seed = static_cast<std::uint64_t>(seed);
  common.quiet = false;  // said anyway
  out.dlrun_words = common.words();
  out.dlrun_words.insert(out.dlrun_words.end(), {"-n", cat(ranks)});
  DlrunInvocation invocation;
  invocation.drill = out;
  return invocation;
}

}  // namespace

DlrunInvocation read_dlrun_command_line(std::vector<std::string> words) {
  if (words.empty()) {
    throw Error(Exit::usage, "expected a configuration file, got nothing",
                "dlrun -n 4 CFG; dlrun --help says more");
  }
  if (words.front() == "drill") {
    words.erase(words.begin());
    return read_drill(std::move(words));
  }
  if (words.front() == "sbatch") {
    words.erase(words.begin());
    return read_batch(std::move(words));
  }
  return read_launch(std::move(words));
}

std::string dlrun_version() {
  std::string version = launcher::program_version();
  return "dlrun" + version.substr(version.find(' '));
}

}  // namespace dlt::supervise
