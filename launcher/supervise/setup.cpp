// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/setup.h"

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "launcher/supervise/children.h"
#include "launcher/supervise/host_list.h"
#include "launcher/supervise/sweep.h"

namespace dlt::supervise {
namespace {

constexpr double kProgram_s = 20;

/// The rank program beside this one, else whatever PATH has.
std::string rank_program() {
  std::error_code failure;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failure);
  const std::string beside = (self.parent_path() / "dltrain").string();
  return !failure && access(beside.c_str(), X_OK) == 0 ? beside : "dltrain";
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// The MPI library of the rank program.
StarterProgram library_of(const std::string& dltrain) {
  const CommandResult info = run_command({dltrain, "info"}, kProgram_s);
  std::istringstream lines(info.out);
  for (std::string line; info.good() && std::getline(lines, line);) {
    if (line.starts_with("mpi ")) return recognise_mpi(line, cat(dltrain, " info"));
  }
  throw Error(Exit::unavailable,
              cat(dltrain, " info: expected the MPI library, got '", printable(info.out), "'"),
              "dlrun takes the dltrain beside it, else the one in PATH");
}

/// The program if it can be run and belongs to the library; else problem says why not.
std::optional<StarterProgram> try_mpirun(const std::string& path, const StarterProgram& library,
                                         std::string& problem) {
  const CommandResult version = run_command({path, "--version"}, kProgram_s);
  if (!version.good()) {
    problem = version.started ? cat(path, " --version failed") : cat(path, ": not found");
    return std::nullopt;
  }
  StarterProgram out;
  try {
    out = recognise_mpi(version.out, path + " --version");
  } catch (const Error& error) {
    problem = error.what();
    return std::nullopt;
  }
  out.path = path;
  if (out.kind == library.kind) return out;
  problem = cat(path, " says '", printable(first_line(version.out)), "'");
  return std::nullopt;
}

StarterProgram choose_starter(const JobSetup& setup) {
  const StarterProgram library = library_of(setup.dltrain);
  const StarterProgram srun{.kind = StarterKind::srun, .major = library.major, .path = "srun"};
  if (setup.options.starter == "srun") {
    if (setup.slurm) return srun;
    throw Error(Exit::unavailable, "--starter srun: expected a Slurm allocation, got none",
                "salloc, or dlrun sbatch");
  }
  std::vector<std::string> paths{"mpirun", "mpirun.openmpi"};
  if (library.kind == StarterKind::hydra) paths = {"mpiexec.hydra", "mpirun.mpich", "mpirun"};
  if (!setup.options.mpirun.empty()) paths = {setup.options.mpirun};
  std::string problem;
  for (const std::string& path : paths) {
    if (const auto found = try_mpirun(path, library, problem)) return *found;
  }
  if (setup.slurm && setup.options.starter == "auto" && setup.options.mpirun.empty()) return srun;
  const bool open = library.kind == StarterKind::open_mpi;
  throw Error(
      Exit::unavailable,
      cat(setup.options.mpirun.empty() ? "mpirun" : "--mpirun", ": expected that of ",
          open ? "Open MPI" : "MPICH", ", with which dltrain was built, got none: ", problem),
      cat("apt-get install ", open ? "openmpi-bin" : "mpich", ", or --mpirun PATH"));
}

/// The config as dlrun reads it. Of mistakes the rank program knows all, not only those in the few
/// keys that are read here.
JobConfig read_config(const LaunchOptions& options, const std::string& dltrain) {
  try {
    return read_job_config(options.config, options.overrides);
  } catch (const Error& error) {
    if (error.exit() != Exit::config) throw;
    Words words{"sh", "-c", "exec \"$@\" 2>&1 >/dev/null", "-", dltrain, "check", options.config};
    for (const std::string& text : options.overrides) words.insert(words.end(), {"--set", text});
    const CommandResult all = run_command(words, kProgram_s);
    const bool same = all.started && all.end.exit_code == static_cast<int>(Exit::config);
    throw Error(Exit::config, same && all.out.ends_with('\n') ? all.out : error.what());
  }
}

/// The address that Slurm knows a node by, which may be another than the system's; "" if none.
std::string slurm_address(const JobSetup& setup, const std::string& node) {
  if (!setup.slurm) return {};
  const CommandResult shown = run_command({"scontrol", "--oneliner", "show", "node", node}, 10);
  std::istringstream words(shown.good() ? shown.out : "");
  constexpr std::string_view kKey = "NodeAddr=";
  for (std::string word; words >> word;) {
    if (word.starts_with(kKey)) return word.substr(kKey.size());
  }
  return {};
}

std::optional<double> time_left(const Allocation& allocation) {
  if (allocation.end_s) {
    SystemClock clock;
    return static_cast<double>(*allocation.end_s) - clock.wall_s();
  }
  const CommandResult left =
      run_command({"squeue", "--noheader", "--jobs", allocation.job_id, "--format", "%L"}, 10);
  return left.good() ? slurm_duration_s(left.out) : std::nullopt;
}

}  // namespace

void choose_hosts(const std::optional<Allocation>& allocation, JobSetup& setup) {
  const LaunchOptions& options = setup.options;
  const char* where = "--hosts";
  if (!options.hosts.empty()) {
    setup.hosts = parse_hosts(options.hosts);
    setup.named_hosts = true;
  } else if (allocation) {
    setup.hosts = allocation->hosts;
    setup.named_hosts = true;
    where = "the Slurm allocation";
  } else if (options.ranks == 0) {
    throw Error(Exit::usage, "-n: expected the number of ranks, got nothing",
                "dlrun -n 4 CFG, or --hosts a:4,b:4");
  } else {
    setup.hosts = {
        {.name = setup.reach.own_host, .slots = static_cast<std::int32_t>(options.ranks)}};
  }
  const std::int64_t room = total_slots(setup.hosts);
  setup.ranks = options.ranks == 0 ? room : options.ranks;
  if (setup.ranks > room) {
    throw Error(Exit::usage,
                cat("-n: expected at most ", room, ", the ranks that ", where, " has room for (",
                    hosts_text(setup.hosts), "), got '", setup.ranks, "'"),
                "name hosts with more ranks: --hosts a:4,b:4");
  }
}

JobSetup prepare_job(const LaunchOptions& options, const launcher::Lookup& lookup,
                     const std::string& own_host) {
  JobSetup out;
  out.options = options;
  out.lookup = lookup;
  out.dltrain = rank_program();
  out.reach = read_reach(lookup, own_host);
  out.config = read_config(options, out.dltrain);
  if (options.max_restarts) out.config.fault.max_restarts = *options.max_restarts;
  const std::optional<Allocation> allocation = read_allocation(lookup);
  choose_hosts(allocation, out);
  if (allocation) {
    out.slurm = allocation->job_id;
    out.time_left_s = time_left(*allocation);
  }
  out.starter = choose_starter(out);
  out.memory_dir = memory_dir_of(out.config.run_dir);
  return out;
}

std::string control_host(const JobSetup& setup) {
  namespace asio = boost::asio;
  if (setup.config.fault.control_set) return setup.config.fault.control_host;
  const auto other =
      std::find_if(setup.hosts.begin(), setup.hosts.end(),
                   [&](const HostSlots& host) { return !is_own(setup.reach, host.name); });
  if (other == setup.hosts.end()) return setup.config.fault.control_host;
  asio::io_context context;
  // Where names of hosts are known to Slurm or to the rsh agent alone, this machine's own is tried.
  for (const std::string& name :
       {other->name, slurm_address(setup, other->name), setup.reach.own_host}) {
    if (name.empty()) continue;
    boost::system::error_code failure;
    asio::ip::udp::resolver resolver(context);
    for (const auto& entry : resolver.resolve(name, "9", failure)) {
      asio::ip::udp::socket socket(context);
      socket.connect(entry.endpoint(), failure);  // sends nothing
      if (failure) continue;
      const auto local = socket.local_endpoint(failure);
      if (!failure) return local.address().to_string();
    }
  }
  throw Error(Exit::unavailable,
              cat("--hosts: ", other->name,
                  ": the name is not known, so dlrun cannot tell by "
                  "which address of this machine it is reached"),
              "set fault.control: ADDRESS:0 in the configuration");
}

}  // namespace dlt::supervise
