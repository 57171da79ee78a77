// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/drill.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>

#include <signal.h>
#include <sys/wait.h>

#include "base/rng.h"
#include "base/text.h"
#include "launcher/supervise/job_config.h"
#include "launcher/supervise/process.h"
#include "launcher/supervise/run_record.h"

namespace dlt::supervise {
namespace {

constexpr double kPoll_s = 0.002;   // between two looks at a job that runs
constexpr double kRead_s = 0.02;    // between two looks at its events, which cost more
constexpr double kLongest_s = 600;  // a job without an end has failed
constexpr double kDisk_s = 1;       // for which a rank can write nothing
constexpr double kRecovery_s = 60;  // for a fault's consequence to be seen
constexpr int kMost_attempts = 8;   // of a fault, whose job had ended before it came

/// All that was measured of one kind of fault.
struct Results {
  std::int64_t made = 0;
  std::int64_t restarted = 0;
  std::vector<double> detected_s, again_s;
  std::int64_t steps_lost = 0, most_lost = 0;
};

/// One call of dlrun, whose end is waited for.
class Call {
 public:
  Call(const Words& words, const Clock& clock)
      : clock_(&clock), start_s_(clock.monotonic_s()), pid_(spawn({.words = words, .env = {}})) {}
  ~Call() {
    if (!code_) ::kill(pid_, SIGKILL), (void)::waitpid(pid_, nullptr, 0);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] double start_s() const { return start_s_; }
  [[nodiscard]] double elapsed_s() const { return clock_->monotonic_s() - start_s_; }
  /// Its exit code once it has ended, 128 and the signal that ended it.
  [[nodiscard]] std::optional<int> ended() {
    if (code_) return code_;
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
    code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return code_;
  }

 private:
  const Clock* clock_;
  double start_s_;
  pid_t pid_;
  std::optional<int> code_;
};

class Drill {
 public:
  Drill(const DrillOptions& options, const std::string& folder, Clock& clock)
      : options_(options),
        clock_(&clock),
        reference_(folder + "/reference"),
        faulted_(folder + "/faulted") {}

  Exit run() {
    make_reference();
    std::printf("undisturbed: %.2f s, weights %s\n", duration_s_, hash_.c_str());
    while (made_ < options_.count && failures_ == 0) run_with_faults();
    print_table();
    const bool pass = failures_ == 0;
    std::printf("%s: %lld faults in %lld runs, %s\n", pass ? "PASS" : "FAIL",
                static_cast<long long>(made_), static_cast<long long>(runs_),
                pass ? "all with the same weights" : "see above");
    if (!pass) std::printf("  look into %s\n", faulted_.c_str());
    return pass ? Exit::ok : Exit::internal;
  }

 private:
  [[nodiscard]] Words words(const std::string& run_dir, bool anew) const {
    Words out{std::filesystem::read_symlink("/proc/self/exe").string()};
    out.insert(out.end(), options_.dlrun_words.begin(), options_.dlrun_words.end());
    out.insert(out.end(), {"--set", "run.dir=" + run_dir, "--set", "log.every_steps=1", "--quiet"});
    if (anew) out.emplace_back("--overwrite");
    // Results of the jobs are no result of the drill.
    Words quiet{"sh", "-c", "exec \"$@\" >/dev/null", "-"};
    quiet.insert(quiet.end(), out.begin(), out.end());
    return quiet;
  }

  /// A number from 0 to 1, the next of the drill's.
  double random() {
    return rng::uniform({.seed = options_.seed, .op = rng::op_id("drill")}, next_++);
  }

  std::size_t pick(std::size_t count) {
    return std::min(count - 1, static_cast<std::size_t>(random() * static_cast<double>(count)));
  }

  void make_reference() {
    Call call(words(reference_, true), *clock_);
    const int code = wait_for_end(call);
    duration_s_ = call.elapsed_s();
    hash_ = hash_of_run(reference_);
    if (code != 0 || hash_.empty()) {
      throw Error(static_cast<Exit>(code == 0 ? static_cast<int>(Exit::internal) : code),
                  cat("drill: the undisturbed job ended with code ", code));
    }
  }

  int wait_for_end(Call& call) {
    while (!call.ended() && call.elapsed_s() < kLongest_s) clock_->sleep_s(kPoll_s);
    return call.ended().value_or(-1);
  }

  void run_with_faults() {
    ++runs_;
    Call call(words(faulted_, true), *clock_);
    const std::int64_t made_before = made_;
    while (!call.ended() && made_ < options_.count && call.elapsed_s() < kLongest_s) {
      make_fault(call);
    }
    int code = wait_for_end(call);
    // The last checkpoint fell into the time without a disk: the same command goes on.
    if (code == static_cast<int>(Exit::io)) {
      Call again(words(faulted_, false), *clock_);
      code = wait_for_end(again);
    }
    judge(code);
    attempts_ = made_ == made_before ? attempts_ + 1 : 0;
    if (attempts_ >= kMost_attempts) {
      throw Error(Exit::unavailable,
                  cat("drill: ", attempts_, " jobs ended before a fault could be made"),
                  "give the job more steps, or leave out --faults that cannot be made here");
    }
  }

  void judge(int code) {
    const std::string hash = hash_of_run(faulted_);
    if (code == 0 && hash == hash_) return;
    ++failures_;
    std::printf("run %lld ended with code %d and weights %s, expected 0 and %s\n  last fault: %s\n",
                static_cast<long long>(runs_), code, hash.empty() ? "unknown" : hash.c_str(),
                hash_.c_str(), last_.c_str());
  }

  /// Waits for a random moment and hurts a random rank, then sees what comes of it. Where jobs
  /// ended before theirs, since they were faster than the undisturbed one, the next comes earlier.
  void make_fault(Call& call) {
    const double longest_s = duration_s_ / static_cast<double>(1 + attempts_);
    const double at_s = clock_->monotonic_s() + random() * longest_s;
    const Injection injection = options_.faults[pick(options_.faults.size())];
    const double choice = random();
    while (clock_->monotonic_s() < at_s) {
      if (call.ended()) return;
      clock_->sleep_s(kPoll_s);
    }
    while (!call.ended()) {
      const std::vector<RankProcess> ranks = ranks_below(call.pid());
      // Before there is a run to go on with, a rank that cannot write is a job that cannot start.
      // One that is stopped has the start-up allowance, which is long.
      const bool patient = injection == Injection::disk || injection == Injection::stop;
      const bool early = !ranks.empty() && patient && !is_training(call);
      if (!ranks.empty() && !early) {
        const auto index = static_cast<std::size_t>(choice * static_cast<double>(ranks.size()));
        const RankProcess& rank = ranks[std::min(index, ranks.size() - 1)];
        const double now_s = clock_->monotonic_s();
        if (inject(injection, rank)) return follow(call, injection, rank, now_s);
      }
      clock_->sleep_s(early ? kRead_s : kPoll_s);
    }
  }

  /// Whether the newest generation has made a step.
  [[nodiscard]] bool is_training(const Call& call) const {
    std::int64_t newest = 0, stepping = 0;
    for (const RunEvent& event : events_of(call)) {
      newest = std::max(newest, event.generation);
      if (event.kind == "step") stepping = std::max(stepping, event.generation);
    }
    return stepping > 0 && stepping == newest;
  }

  void follow(Call& call, Injection injection, const RankProcess& rank, double injected_s) {
    ++made_;
    Results& results = results_[injection];
    ++results.made;
    last_ = cat(name(injection), " of rank ", rank.rank, " (process ", rank.pid, ") ",
                injected_s - call.start_s(), " s after the start");
    const bool lasting = injection == Injection::kill || injection == Injection::stop;
    const double wait_s = lasting ? kRecovery_s : kDisk_s;
    std::optional<Recovery> recovery;
    for (double now_s = injected_s; now_s < injected_s + wait_s; now_s = clock_->monotonic_s()) {
      if (call.ended() || (lasting && recovery && recovery->again_s)) break;
      clock_->sleep_s(lasting ? kRead_s : kPoll_s);
      if (lasting) recovery = recovery_from(events_of(call), injected_s);
    }
    withdraw(injection, rank);
    recovery = recovery_from(events_of(call), injected_s);
    if (!recovery) return;
    ++results.restarted;
    results.detected_s.push_back(recovery->detected_s);
    if (recovery->again_s) results.again_s.push_back(*recovery->again_s);
    results.steps_lost += recovery->steps_lost;
    results.most_lost = std::max(results.most_lost, recovery->steps_lost);
  }

  /// What an earlier job left in the folder does not count.
  [[nodiscard]] std::vector<RunEvent> events_of(const Call& call) const {
    std::vector<RunEvent> events = read_events(faulted_);
    std::erase_if(events, [&](const RunEvent& event) { return event.mono_s < call.start_s(); });
    return events;
  }

  static std::string quantiles(std::vector<double> values) {
    if (values.empty()) return "-";
    std::sort(values.begin(), values.end());
    const auto at = [&](double part) {
      const auto index = static_cast<std::size_t>(part * static_cast<double>(values.size()));
      return values[std::min(index, values.size() - 1)];
    };
    char text[64];
    std::snprintf(text, sizeof text, "%.2f  %.2f", at(0.5), at(0.95));
    return text;
  }

  void print_table() {
    std::printf("%-6s %6s %10s %20s %20s %12s\n", "fault", "made", "restarts", "detected s p50 p95",
                "again s p50 p95", "steps lost");
    for (auto& [injection, results] : results_) {
      std::printf("%-6s %6lld %10lld %20s %20s %8lld (%lld)\n", name(injection),
                  static_cast<long long>(results.made), static_cast<long long>(results.restarted),
                  quantiles(results.detected_s).c_str(), quantiles(results.again_s).c_str(),
                  static_cast<long long>(results.steps_lost),
                  static_cast<long long>(results.most_lost));
    }
  }

  DrillOptions options_;
  Clock* clock_;
  std::string reference_, faulted_;
  double duration_s_ = 0;
  std::string hash_, last_;
  std::uint64_t next_ = 0;
  std::int64_t made_ = 0, runs_ = 0, failures_ = 0, attempts_ = 0;
  std::map<Injection, Results> results_;
};

}  // namespace

Exit run_drill(const DrillOptions& options, Fs& fs, Clock& clock) {
  const JobConfig config = read_job_config(options.config, options.overrides);
  const std::string folder = config.run_dir + "-drill";
  fs.create_directories(folder);
  return Drill(options, folder, clock).run();
}

}  // namespace dlt::supervise
