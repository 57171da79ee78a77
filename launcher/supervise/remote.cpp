// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/remote.h"

#include <sstream>

#include "base/text.h"
#include "launcher/supervise/slurm.h"

namespace dlt::supervise {
namespace {

/// The first of alternatives as in "ssh -x : rsh", as words.
Words first_agent(const std::string& text) {
  Words out;
  std::istringstream words(text.substr(0, text.find(':')));
  for (std::string word; words >> word;) out.push_back(word);
  return out;
}

std::string short_name(const std::string& host) { return host.substr(0, host.find('.')); }

}  // namespace

Reach read_reach(const launcher::Lookup& lookup, const std::string& own_host) {
  Reach out{.own_host = own_host, .rsh = {}, .slurm_job = {}};
  for (const char* variable : {"OMPI_MCA_plm_rsh_agent", "OMPI_MCA_orte_rsh_agent",
                               "PRTE_MCA_plm_ssh_agent", "HYDRA_LAUNCHER_EXEC"}) {
    const char* text = lookup(variable);
    if (text != nullptr && out.rsh.empty()) out.rsh = first_agent(text);
  }
  if (out.rsh.empty()) {
    out.rsh = {"ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"};
    const char* job = lookup("SLURM_JOB_ID");
    if (job != nullptr && lookup("SLURM_JOB_NODELIST") != nullptr) out.slurm_job = job;
  }
  return out;
}

bool is_own(const Reach& reach, const std::string& host) {
  return host == "localhost" || host == "127.0.0.1" || host == reach.own_host ||
         short_name(host) == short_name(reach.own_host);
}

Words on_host(const Reach& reach, const std::string& host, const std::string& script) {
  if (is_own(reach, host)) return {"sh", "-c", script};
  if (!reach.slurm_job.empty()) {
    return {"srun", "--jobid", reach.slurm_job, "--overlap", "--nodes", "1",  "--ntasks", "1",
            "-w",   host,      "--mpi",         "none",      "--quiet", "sh", "-c",       script};
  }
  Words out = reach.rsh;
  out.push_back(host);
  // The shell on the other side may be any.
  out.push_back("sh -c " + shell_quoted(script));
  return out;
}

std::string way_back_script(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const std::string connect = cat("exec 3<>/dev/tcp/", host, "/", address.substr(colon + 1));
  return cat("if command -v bash > /dev/null && command -v timeout > /dev/null; then\n",
             "  timeout 2 bash -c ", shell_quoted(connect), " 2> /dev/null || exit ", kNoWayBack,
             "\nfi\n");
}

std::string trial_text(const Reach& reach, const std::string& host) {
  return shell_quoted(on_host(reach, host, "true"));
}

}  // namespace dlt::supervise
