// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/job.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <optional>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <unistd.h>

#include "base/checkpoint_folders.h"
#include "base/generation.h"
#include "base/text.h"
#include "launcher/control/refusal.h"
#include "launcher/control/server.h"
#include "launcher/supervise/children.h"
#include "launcher/supervise/early_deaths.h"
#include "launcher/supervise/host_list.h"
#include "launcher/supervise/inquiry.h"
#include "launcher/supervise/last_lines.h"
#include "launcher/supervise/oom_watch.h"
#include "launcher/supervise/rank_start.h"
#include "launcher/supervise/rank_table.h"
#include "launcher/supervise/supervisor.h"
#include "launcher/supervise/sweep.h"

namespace dlt::supervise {
namespace asio = boost::asio;
namespace {

using Failure = boost::system::error_code;

constexpr double kPrepare_s = 20;  // for hosts to get ready
constexpr double kSweep_s = 10;    // for hosts to get rid of a generation
constexpr double kKill_s = 5;      // for this host's processes to end
constexpr double kLock_s = 0.5;    // for another dlrun to go
constexpr double kLinger_s = 1;    // for the starter to end once its ranks have
constexpr double kGrace_s = 120;   // before the end of an allocation

void print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;  // nobody reads: that must not end a job
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::chrono::microseconds duration(double seconds) {
  const double most = 1e9;
  return std::chrono::microseconds(static_cast<std::int64_t>(std::clamp(seconds, 0.0, most) * 1e6) +
                                   1);
}

SupervisorOptions supervisor_options(const JobSetup& setup, std::int64_t last_generation) {
  // Whether it verifies is for the ranks to find out.
  const std::vector<CheckpointPlace> saved = complete_in(setup.config.run_dir + "/checkpoints");
  return {.fault = setup.config.fault,
          .ranks = static_cast<std::int32_t>(setup.ranks),
          .hosts = setup.hosts,
          .saved_step = setup.options.starts_anew() || saved.empty() ? -1 : saved.back().step,
          .first_generation = last_generation + 1,
          .answer_s = setup.named_hosts ? kLook_s + 1 : 1};
}

class Job {
 public:
  Job(const JobSetup& setup, Fs& fs, const Clock& clock)
      : setup_(setup),
        fs_(fs),
        clock_(clock),
        children_(context_),
        signals_(context_, SIGTERM, SIGINT, SIGUSR1),
        tick_(context_),
        time_limit_(context_),
        kill_timer_(context_),
        linger_(context_),
        token_(launcher::make_token()),
        server_(context_,
                {.host = control_host(setup),
                 .port = setup.config.fault.control_port,
                 .token = token_,
                 .max_ranks = static_cast<std::int32_t>(setup.ranks)},
                clock, server_events()),
        ranks_(context_, setup.reach,
               [this](const ProcessGone& gone) {
                 look_for_oom();
                 hurry_starter(clock_.monotonic_s());
                 feed(gone);
               }),
        inquiry_(context_, children_, ranks_,
                 {.setup = setup,
                  .clock = clock,
                  .control_address = server_.address(),
                  .tell = [this](const Event& event) { feed(event); }}),
        last_generation_(read_generation(setup.config.run_dir)),
        supervisor_(supervisor_options(setup, last_generation_)) {}

  Exit run() {
    ::signal(SIGPIPE, SIG_IGN);
    adopt_orphans();
    wait_for_signal();
    limit_time();
    perform(supervisor_.start(clock_.monotonic_s()));
    try {
      context_.run();
    } catch (...) {
      (void)kill_descendants({}, kKill_s);
      throw;
    }
    (void)kill_descendants({}, kKill_s);
    remove_all();
    requeue();
    return exit_;
  }

 private:
  launcher::ServerEvents server_events() {
    return {
        .message = [this](std::int32_t rank, std::int64_t generation,
                          const launcher::FromRank& message) { heard(rank, generation, message); },
        .disconnected =
            [this](std::int32_t rank, std::int64_t generation) {
              if (generation == launch_.generation) {
                ranks_.disconnected(rank);
                if (!killed_) inquiry_.ask_whether_gone(rank, generation);
              }
              look_for_oom();
              hurry_starter(clock_.monotonic_s());
              feed(Disconnected{.rank = rank, .generation = generation});
            },
        .refused =
            [this](const std::string& text) {
              // What a host does that is asked whether it can connect.
              if (setup_.named_hosts &&
                  text.find(launcher::text(launcher::Refusal::left)) != text.npos)
                return;
              print(cat("dlrun: ", text, "\n"));
            }};
  }

  void heard(std::int32_t rank, std::int64_t generation, const launcher::FromRank& message) {
    if (generation == launch_.generation) {
      if (const auto* hello = std::get_if<launcher::Hello>(&message)) {
        if (ranks_.connected(*hello)) oom_.add(rank, static_cast<pid_t>(hello->pid));
      } else if (const auto* beat = std::get_if<launcher::Beat>(&message)) {
        headway_.progressed = headway_.progressed || beat->mark.phase != observe::Phase::start;
      } else if (std::holds_alternative<launcher::Saved>(message)) {
        headway_.progressed = headway_.saved = true;
      } else {
        ranks_.said_last_words(rank, std::holds_alternative<launcher::Failed>(message));
      }
    }
    feed(Heard{.rank = rank, .generation = generation, .message = message});
  }

  void look_for_oom() {
    for (const std::int32_t rank : oom_.look()) {
      feed(OutOfMemory{.host = setup_.reach.own_host, .rank = rank});
    }
  }

  void look_for_early_deaths() {
    const auto spoke = [this](std::int32_t rank) { return ranks_.place(rank).pid != 0; };
    if (starter_pid_ == 0 || killed_ || early_.done(spoke)) return;
    for (const std::int32_t rank :
         early_.look(clock_.monotonic_s(), ranks_below(starter_pid_), spoke)) {
      feed(ProcessGone{.rank = rank, .generation = launch_.generation});
    }
  }

  void wait_for_signal() {
    signals_.async_wait([this](const Failure& failure, int number) {
      if (failure) return;
      if (number == SIGUSR1) requeue_wanted_ = true;
      feed(StopAsked{.signal = number});
      wait_for_signal();
    });
  }

  void limit_time() {
    if (!setup_.time_left_s) return;
    const double left = *setup_.time_left_s;
    const double grace = std::min(kGrace_s, left / 4);
    time_limit_.expires_after(duration(left - grace));
    time_limit_.async_wait([this, grace](const Failure& failure) {
      if (failure) return;
      requeue_wanted_ = true;
      feed(StopAsked{.reason = launcher::Stop::Reason::time_limit, .grace_s = grace});
    });
  }

  /// Tells the supervisor, when all that runs now is through.
  void feed(Event event) {
    asio::post(context_, [this, event = std::move(event)] {
      if (!ended_) perform(supervisor_.handle(clock_.monotonic_s(), event));
    });
  }

  void perform(const std::vector<Action>& actions) {
    for (const Action& action : actions) {
      std::visit([this](const auto& what) { act(what); }, action);
    }
    if (ended_) return context_.stop();
    const double next_s = supervisor_.next_deadline_s() - clock_.monotonic_s();
    tick_.expires_after(duration(next_s));
    tick_.async_wait([this](const Failure& failure) {
      if (failure || ended_) return;
      look_for_oom();
      look_for_stop();
      look_for_early_deaths();
      perform(supervisor_.handle(clock_.monotonic_s(), Tick{}));
    });
  }

  /// mpirun sleeps through the whole of odls_base_sigkill_timeout, twice, when a rank ended with
  /// another code than 0, though none is left: it is woken until it has passed on what the ranks
  /// wrote and ends. Its daemons on other hosts sleep, too, so that it may have to be killed.
  void hurry_starter(double since_s) {
    if (starter_pid_ == 0 || ended_ || !ranks_.through(launch_.ranks)) return;
    if (clock_.monotonic_s() > since_s + kLinger_s) {
      kill(starter_pid_, SIGKILL);
      return;
    }
    wake_threads(starter_pid_);
    linger_.expires_after(duration(0.005));
    linger_.async_wait([this, since_s](const Failure& failure) {
      if (!failure) hurry_starter(since_s);
    });
  }

  /// SIGTERM is blocked in mpirun, which would end the ranks within 2 s: it is a wish to stop, as
  /// if it had been sent here.
  void look_for_stop() {
    if (starter_pid_ == 0 || starter_told_ || !signal_pending(starter_pid_, SIGTERM)) return;
    starter_told_ = true;
    feed(StopAsked{.signal = SIGTERM});
  }

  void act(const Report& report) { print(report.text); }

  void act(const LogEvent& event) {
    observe::EventLog log(setup_.config.run_dir + "/events.jsonl", clock_, launch_.generation);
    log.write(event.name, event.fields);
  }

  void act(const End& end) {
    exit_ = end.exit;
    ended_ = true;
  }

  void act(const Launch& launch) {
    launch_ = launch;
    killed_ = false;
    starter_pid_ = 0;
    starter_told_ = false;
    starter_said_.clear();
    ranks_.clear();
    std::int32_t here = 0;
    for (const HostSlots& host : launch_.hosts) {
      if (is_own(setup_.reach, host.name)) here += host.slots;
    }
    early_.begin(std::min(here, launch_.ranks), launch_.ranks);
    oom_.forget_ranks();
    write_generation(fs_, setup_.config.run_dir, launch_.generation);
    server_.set_generation(launch_.generation);
    const bool fresh = last_generation_ == 0 || setup_.options.starts_anew();
    std::vector<Words> commands;
    for (const HostSlots& host : launch_.hosts) {
      commands.push_back(
          on_host(setup_.reach, host.name,
                  prepare_script({.memory_dir = setup_.memory_dir,
                                  .generation = launch_.generation,
                                  .wipe = fresh && !headway_.progressed,
                                  .mpich = setup_.starter.kind == StarterKind::hydra}) +
                      inquiry_.way_back(host.name)));
    }
    children_.run(commands, kPrepare_s,
                  [this, generation = launch_.generation](const auto& results) {
                    if (generation == launch_.generation && !killed_) prepared(results);
                  });
  }

  /// Reads what hosts said about themselves, then starts the ranks.
  void prepared(const std::vector<CommandResult>& results) {
    std::vector<HostCores> cores;
    for (std::size_t i = 0; i < results.size(); ++i) {
      const HostSlots& host = launch_.hosts[i];
      const bool own = is_own(setup_.reach, host.name);
      if (!results[i].timed_out && results[i].end.exit_code == static_cast<int>(Exit::denied)) {
        throw Error(Exit::denied,
                    cat(setup_.memory_dir, " on ", host.name,
                        ": expected a folder of this user's own, got somebody else's"),
                    "ask its owner to remove it");
      }
      if (!results[i].good()) return not_started(unprepared(host.name, results[i]));
      int count = usable_cores();
      const std::string& told = results[i].out;
      if (!own) std::from_chars(told.data(), told.data() + told.size(), count);
      cores.push_back({.ranks = host.slots, .cores = std::max(count, 1)});
    }
    start_ranks(cores);
  }

  [[nodiscard]] std::string unprepared(const std::string& host, const CommandResult& result) const {
    const std::string how = result.timed_out  ? cat("no answer in ", kPrepare_s, " s")
                            : !result.started ? result.out
                            : result.end.exit_code == kNoWayBack
                                ? cat("it cannot connect to dlrun at ", server_.address())
                                : cat("exit code ", result.end.exit_code);
    return is_own(setup_.reach, host)
               ? cat(setup_.memory_dir, ": cannot be made ready: ", how)
               : cat("host ", host, ": cannot be reached: ", how,
                     "\n  hint: this must work: ", trial_text(setup_.reach, host));
  }

  void not_started(const std::string& why) {
    print(cat("dltrain: error: ", why, "\n"));
    feed(JobEnded{.generation = launch_.generation,
                  .exit_code = static_cast<int>(Exit::unavailable)});
  }

  void start_ranks(const std::vector<HostCores>& cores) {
    const bool bind = setup_.options.bind == "auto";
    const StartPlan plan{
        .starter = setup_.starter,
        .hosts = launch_.hosts,
        .named_hosts = setup_.named_hosts,
        .cores_per_rank = bind ? cores_to_bind(cores, setup_.config.threads) : 0,
        .oversubscribed =
            std::any_of(cores.begin(), cores.end(),
                        [](const HostCores& host) { return host.ranks > host.cores; }),
        .rsh = setup_.lookup("HYDRA_LAUNCHER_EXEC") != nullptr ? "" : join(setup_.reach.rsh, " "),
        .scratch_dir = scratch_dir_of(setup_.memory_dir, launch_.generation),
        .program = rank_words(setup_, headway_)};
    const EnvChanges told = told_to_ranks({.address = server_.address(), .token = token_},
                                          setup_.memory_dir, launch_, supervisor_.status());
    std::vector<std::string> names;
    for (const auto& [name, value] : told) names.push_back(name);
    CommandLine line = command_line(plan, setup_.lookup, names);
    line.env.insert(line.env.end(), told.begin(), told.end());
    const std::string map = map_text(plan);
    if (map != map_ && !setup_.options.quiet) {
      print(cat("dlrun: ", counted(launch_.ranks, "rank", "ranks"), ", started by ",
                plan.starter.path, "\n", map));
    }
    map_ = map;
    const bool open_mpi = setup_.starter.kind == StarterKind::open_mpi;
    try {
      starter_pid_ = children_.start(
          {.words = line.words, .env = line.env, .blocked_signal = open_mpi ? SIGTERM : 0},
          [this](std::string_view text) {
            print(text);
            starter_said_.add(text);
          },
          [this, generation = launch_.generation](ProcessEnd end) { ended(generation, end); });
    } catch (const Error& error) {
      return not_started(error.what());
    }
  }

  void ended(std::int64_t generation, ProcessEnd end) {
    if (generation == launch_.generation) starter_pid_ = 0;
    look_for_oom();
    // What it wrote has been passed on already.
    feed(JobEnded{.generation = generation,
                  .exit_code = end.exit_code,
                  .signal = end.signal,
                  .last_lines = starter_said_.lines()});
  }

  void act(const KillJob& kill_job) {
    killed_ = true;
    kill_here(kill_job.generation, clock_.monotonic_s() + kKill_s);
  }

  /// Kills again until nothing is left on this host, without standing still, then sweeps all hosts.
  void kill_here(std::int64_t generation, double deadline_s) {
    const std::vector<pid_t> left =
        kill_descendants({.alive = children_.commands(), .collected = children_.programs()}, 0);
    if (left.empty() || clock_.monotonic_s() >= deadline_s) return sweep(generation);
    kill_timer_.expires_after(duration(0.005));
    kill_timer_.async_wait([this, generation, deadline_s](const Failure& failure) {
      if (!failure) kill_here(generation, deadline_s);
    });
  }

  void sweep(std::int64_t generation) {
    const std::string script =
        sweep_script(setup_.memory_dir, setup_.starter.kind == StarterKind::hydra);
    std::vector<Words> commands;
    for (const HostSlots& host : launch_.hosts)
      commands.push_back(on_host(setup_.reach, host.name, script));
    children_.run(commands, kSweep_s,
                  [this, generation, hosts = launch_.hosts](const auto& results) {
                    Swept swept{.generation = generation, .unreachable = {}};
                    for (std::size_t i = 0; i < results.size(); ++i) {
                      if (!results[i].good()) swept.unreachable.push_back(hosts[i].name);
                    }
                    feed(swept);
                  });
  }

  void act(const SendStop& send_stop) {
    if (send_stop.rank >= 0) {
      server_.send(send_stop.rank, send_stop.stop);
    } else {
      server_.send_all(send_stop.stop);
    }
    // Those that cannot be told over the channel: mpirun hands the signal on to all ranks.
    const bool all_hear = send_stop.rank >= 0 ? server_.connected(send_stop.rank)
                                              : ranks_.num_connected() == launch_.ranks;
    if (!all_hear && starter_pid_ > 0) kill(starter_pid_, SIGUSR1);
  }

  void act(const CollectStacks& collect) { inquiry_.collect_stacks(collect); }
  void act(const CheckHosts& check) { inquiry_.check_hosts(check); }
  void act(const ReadRings& read) { inquiry_.read_rings(read); }

  /// The run ended well or was given up: nothing of it stays in memory on any host.
  void remove_all() {
    std::vector<Words> commands;
    for (const HostSlots& host : setup_.hosts)
      commands.push_back(on_host(setup_.reach, host.name, remove_script(setup_.memory_dir)));
    (void)run_commands(commands, kSweep_s);
  }

  void requeue() {
    if (!setup_.options.requeue || !setup_.slurm || !requeue_wanted_ || exit_ != Exit::preempted)
      return;
    const CommandResult result = run_command({"scontrol", "requeue", *setup_.slurm}, kSweep_s);
    if (!result.good())
      print(cat("dlrun: scontrol requeue ", *setup_.slurm, " failed: submit the job again\n"));
  }

  const JobSetup& setup_;
  Fs& fs_;
  const Clock& clock_;
  asio::io_context context_;
  Children children_;
  asio::signal_set signals_;
  asio::steady_timer tick_, time_limit_, kill_timer_, linger_;
  const std::string token_;
  launcher::ControlServer server_;
  RankTable ranks_;
  OomWatch oom_;
  EarlyDeaths early_;
  Inquiry inquiry_;
  const std::int64_t last_generation_;  // of earlier calls for this run; 0: there was none
  Supervisor supervisor_;

  Launch launch_;  // the newest
  bool killed_ = false;
  pid_t starter_pid_ = 0;      // 0: it does not run
  bool starter_told_ = false;  // to stop, by somebody
  LastLines starter_said_;
  std::string map_;  // as it was printed
  Headway headway_;
  bool requeue_wanted_ = false;
  bool ended_ = false;
  Exit exit_ = Exit::internal;
};

/// Removes a run's folder that dlrun made and in which no rank wrote anything.
void remove_if_unused(const std::string& run_dir) {
  constexpr std::array<std::string_view, 3> kOwn{"dlrun.lock", "events.jsonl", "generation"};
  remove_if_only(run_dir, kOwn);
}

}  // namespace

Exit run_job(const JobSetup& setup, Fs& fs, const Clock& clock) {
  const std::string& dir = setup.config.run_dir;
  const bool made = !exists(dir);
  fs.create_directories(dir);
  try {
    const RunLock lock(dir, kLock_s, "dlrun.lock");
    const Exit out = Job(setup, fs, clock).run();
    if (made) remove_if_unused(dir);
    return out;
  } catch (...) {
    if (made) remove_if_unused(dir);
    throw;
  }
}

}  // namespace dlt::supervise
