// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/starter.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "launcher/supervise/host_list.h"

namespace dlt::supervise {
namespace {

/// How long ranks may take to save and end when somebody sends Open MPI's daemon on their host a
/// SIGTERM, as Slurm does. On this machine there is none but mpirun, which does not get to see it.
constexpr const char* kSigkillTimeout_s = "60";

/// The first number in text from `at` on.
int major_behind(const std::string& text, std::size_t at) {
  at = text.find_first_of("0123456789", at);
  int out = 0;
  if (at != std::string::npos) std::from_chars(text.data() + at, text.data() + text.size(), out);
  return out;
}

class Builder {
 public:
  Builder(const StartPlan& plan, const launcher::Lookup& lookup) : plan_(plan), lookup_(lookup) {
    say({plan.starter.path});
  }
  void say(const Words& words) { out_.words.insert(out_.words.end(), words.begin(), words.end()); }
  [[nodiscard]] bool is_set(const std::string& variable) const {
    return lookup_(variable.c_str()) != nullptr;
  }
  /// Unless the user has set it.
  void set(const std::string& variable, const std::string& value) {
    if (!is_set(variable)) out_.env.emplace_back(variable, value);
  }
  [[nodiscard]] std::string num_ranks() const { return cat(total_slots(plan_.hosts)); }
  CommandLine finish() {
    say(plan_.program);
    return std::move(out_);
  }
  const StartPlan& plan_;

 private:
  const launcher::Lookup& lookup_;
  CommandLine out_;
};

void place_open_mpi(Builder& b) {
  const StartPlan& plan = b.plan_;
  if (plan.named_hosts) b.say({"--host", hosts_text(plan.hosts)});
  const char* prefix = plan.starter.major >= 5 ? "PRTE_MCA_" : "OMPI_MCA_";
  const bool users_map = b.is_set(cat(prefix, "rmaps_base_mapping_policy")) ||
                         b.is_set("OMPI_MCA_rmaps_base_mapping_policy");
  const bool users_binding = b.is_set(cat(prefix, "hwloc_base_binding_policy")) ||
                             b.is_set("OMPI_MCA_hwloc_base_binding_policy");
  if (!users_map && !users_binding && plan.cores_per_rank > 0) {
    b.say({"--map-by", cat("slot:PE=", plan.cores_per_rank), "--bind-to", "core"});
    return;
  }
  if (!users_map) b.say({"--map-by", "slot"});
  if (!users_binding) b.say({"--bind-to", "none"});
  if (plan.oversubscribed) {
    b.say({"--oversubscribe"});
    b.set("OMPI_MCA_mpi_yield_when_idle", "1");
  }
}

CommandLine open_mpi(Builder b, const std::vector<std::string>& exported) {
  const StartPlan& plan = b.plan_;
  // Its own long reports: dlrun says what happened.
  b.say({"--quiet", "-n", b.num_ranks()});
  place_open_mpi(b);
  if (plan.named_hosts) {
    for (const std::string& name : exported) b.say({"-x", name});
  }
  if (plan.starter.major >= 5) {
    b.set("PRTE_MCA_prte_tmpdir_base", plan.scratch_dir);
    if (plan.named_hosts) b.set("PRTE_MCA_odls_base_sigkill_timeout", kSigkillTimeout_s);
    b.set("OMPI_MCA_btl_sm_backing_directory", plan.scratch_dir);
  } else {
    b.set("OMPI_MCA_orte_tmpdir_base", plan.scratch_dir);
    if (plan.named_hosts) b.set("OMPI_MCA_odls_base_sigkill_timeout", kSigkillTimeout_s);
    b.set("OMPI_MCA_btl_vader_backing_directory", plan.scratch_dir);
  }
  b.set("OMPI_MCA_osc_sm_backing_directory", plan.scratch_dir);
  return b.finish();
}

CommandLine hydra(Builder b) {
  const StartPlan& plan = b.plan_;
  b.say({"-n", b.num_ranks()});
  if (plan.named_hosts) b.say({"-hosts", hosts_text(plan.hosts)});
  if (!plan.rsh.empty() && !b.is_set("HYDRA_LAUNCHER_EXEC"))
    b.say({"-launcher", "ssh", "-launcher-exec", plan.rsh});
  if (plan.cores_per_rank > 0 && !b.is_set("HYDRA_BINDING") && !b.is_set("HYDRA_BIND"))
    b.say({"-bind-to", cat("core:", plan.cores_per_rank)});
  return b.finish();
}

CommandLine srun(Builder b) {
  const StartPlan& plan = b.plan_;
  b.say({"--ntasks", b.num_ranks(), "--nodes", cat(plan.hosts.size()), "--export", "ALL",
         "--kill-on-bad-exit=1", "--unbuffered", "--overlap"});
  if (!b.is_set("SLURM_MPI_TYPE")) b.say({"--mpi", "pmix"});
  const bool equal = std::all_of(plan.hosts.begin(), plan.hosts.end(), [&](const HostSlots& host) {
    return host.slots == plan.hosts.front().slots;
  });
  std::vector<std::string> names;
  for (const HostSlots& host : plan.hosts) {
    // A host as often as it takes ranks, in their order.
    names.insert(names.end(), equal ? 1U : static_cast<std::size_t>(host.slots), host.name);
  }
  b.say({"--nodelist", join(names, ",")});
  if (equal) {
    b.say({"--ntasks-per-node", cat(plan.hosts.front().slots)});
  } else {
    b.say({"--distribution", "arbitrary"});
  }
  if (!b.is_set("SLURM_CPU_BIND")) {
    if (plan.cores_per_rank > 0) {
      b.say({"--cpus-per-task", cat(plan.cores_per_rank)});
    } else {
      b.say({"--cpu-bind", "none"});
    }
  }
  b.set("OMPI_MCA_btl_vader_backing_directory", plan.scratch_dir);
  b.set("OMPI_MCA_osc_sm_backing_directory", plan.scratch_dir);
  if (plan.oversubscribed) b.set("OMPI_MCA_mpi_yield_when_idle", "1");
  return b.finish();
}

}  // namespace

StarterProgram recognise_mpi(const std::string& text, const std::string& what) {
  StarterProgram out;
  for (const char* word : {"Open MPI", "OpenRTE", "OpenMPI"}) {
    const std::size_t at = text.find(word);
    if (at == std::string::npos) continue;
    out.major = major_behind(text, at);
    return out;
  }
  for (const char* word : {"HYDRA", "MPICH", "Intel(R) MPI", "MVAPICH"}) {
    if (text.find(word) == std::string::npos) continue;
    out.kind = StarterKind::hydra;
    return out;
  }
  throw Error(Exit::unavailable,
              cat(what, ": expected Open MPI or MPICH, got '", printable(text), "'"),
              "dlrun --mpirun PATH names the mpirun of the library that dltrain was built with");
}

CommandLine command_line(const StartPlan& plan, const launcher::Lookup& lookup,
                         const std::vector<std::string>& exported) {
  DLT_CHECK(!plan.hosts.empty(), "no host to start ranks on");
  switch (plan.starter.kind) {
    case StarterKind::open_mpi:
      return open_mpi(Builder(plan, lookup), exported);
    case StarterKind::hydra:
      return hydra(Builder(plan, lookup));
    case StarterKind::srun:
      return srun(Builder(plan, lookup));
  }
  return {};
}

std::string map_text(const StartPlan& plan) {
  std::size_t width = 0;
  for (const HostSlots& host : plan.hosts) width = std::max(width, host.name.size());
  std::string out;
  std::int64_t rank = 0;
  for (const HostSlots& host : plan.hosts) {
    if (host.slots == 0) continue;
    const std::int64_t last = rank + host.slots - 1;
    out += cat("  ", host.name, std::string(width - host.name.size(), ' '), "  ",
               rank == last ? cat("rank ", rank) : cat("ranks ", rank, "-", last), ", ",
               plan.cores_per_rank > 0
                   ? cat(counted(plan.cores_per_rank, "core", "cores"), rank == last ? "" : " each")
                   : std::string("not bound to cores"),
               "\n");
    rank = last + 1;
  }
  return out;
}

int cores_to_bind(const std::vector<HostCores>& hosts, std::int64_t threads) {
  std::int64_t out = threads > 0 ? threads : std::numeric_limits<int>::max();
  for (const HostCores& host : hosts) {
    if (host.ranks == 0) continue;
    const int room = host.cores / host.ranks;
    if (room < 1 || (threads > 0 && room < threads)) return 0;
    out = std::min<std::int64_t>(out, room);
  }
  return hosts.empty() ? 0 : static_cast<int>(out);
}

}  // namespace dlt::supervise
