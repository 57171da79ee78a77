// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/slurm.h"

#include <charconv>
#include <sstream>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "launcher/supervise/host_list.h"

namespace dlt::supervise {
namespace {

std::string value_of(const launcher::Lookup& lookup, const char* variable) {
  const char* value = lookup(variable);
  return value == nullptr ? "" : value;
}

std::optional<std::int64_t> integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || at != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

void option(std::ostream& out, const char* name, const std::string& value) {
  if (!value.empty()) out << "#SBATCH --" << name << "=" << value << "\n";
}

/// #SBATCH lines are split at blanks and end at the line's end.
void require_plain(const char* name, const std::string& value) {
  if (value.find_first_of(" \t\r\n#\"'\\") == std::string::npos) return;
  throw Error(Exit::usage,
              cat("--", name, ": expected no blanks and quotes, got '", printable(value), "'"));
}

}  // namespace

std::optional<Allocation> read_allocation(const launcher::Lookup& lookup) {
  Allocation out;
  out.job_id = value_of(lookup, "SLURM_JOB_ID");
  const std::string list = value_of(lookup, "SLURM_JOB_NODELIST");
  if (out.job_id.empty() || list.empty()) return std::nullopt;
  const std::vector<std::string> names = expand_node_list(list);

  std::string tasks = value_of(lookup, "SLURM_TASKS_PER_NODE");
  // Where --ntasks-per-node was said, the other variable may count what the node could take.
  const auto per_node = integer(value_of(lookup, "SLURM_NTASKS_PER_NODE"));
  if (per_node && *per_node > 0) tasks = cat(*per_node, "(x", names.size(), ")");
  if (tasks.empty()) tasks = cat("1(x", names.size(), ")");
  const std::vector<std::int32_t> counts = expand_counts(tasks);
  if (counts.size() != names.size()) {
    throw Error(Exit::unavailable,
                cat("Slurm: expected ranks for each of the ", names.size(), " nodes of '",
                    printable(list), "', got '", printable(tasks), "'"),
                "name the hosts by --hosts a:4,b:4");
  }
  for (std::size_t i = 0; i < names.size(); ++i)
    out.hosts.push_back({.name = names[i], .slots = counts[i]});
  out.end_s = integer(value_of(lookup, "SLURM_JOB_END_TIME"));
  return out;
}

std::optional<double> slurm_duration_s(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty() && (rest.back() == '\n' || rest.back() == ' ')) rest.remove_suffix(1);
  std::int64_t days = 0;
  const std::size_t dash = rest.find('-');
  if (dash != std::string_view::npos) {
    const auto value = integer(rest.substr(0, dash));
    if (!value) return std::nullopt;
    days = *value;
    rest.remove_prefix(dash + 1);
  }
  std::int64_t seconds = 0;
  while (true) {
    const std::size_t colon = rest.find(':');
    const auto value = integer(rest.substr(0, colon));
    if (!value) return std::nullopt;
    seconds = seconds * 60 + *value;
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  return static_cast<double>(days * 86400 + seconds);
}

std::string batch_script(const BatchJob& job) {
  std::ostringstream out;
  out << "#!/bin/bash\n";
  for (const auto& [name, value] :
       {std::pair{"job-name", job.name}, std::pair{"partition", job.partition},
        std::pair{"account", job.account}, std::pair{"qos", job.qos},
        std::pair{"time", job.time}}) {
    require_plain(name, value);
    option(out, name, value);
  }
  out << "#SBATCH --nodes=" << job.nodes << "\n"
      << "#SBATCH --ntasks-per-node=" << job.ntasks_per_node << "\n";
  if (job.cpus_per_task > 0) out << "#SBATCH --cpus-per-task=" << job.cpus_per_task << "\n";
  out << "# SIGUSR1 for the shell alone, in time before the end: dlrun takes the shell's place.\n"
      << "#SBATCH --signal=B:USR1@" << job.grace_s << "\n"
      << "#SBATCH --requeue\n"
      << "#SBATCH --open-mode=append\n\n"
      << "cd " << shell_quoted(job.folder) << " || exit 66\n"
      << "# Saves, ends with exit code 75 and puts the job back into the queue, where the same\n"
      << "# command goes on from the newest checkpoint.\n"
      << "exec " << shell_quoted(job.dlrun) << " --requeue " << shell_quoted(job.dlrun_words)
      << "\n";
  return out.str();
}

std::string shell_quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string shell_quoted(const std::vector<std::string>& words) {
  std::vector<std::string> quoted;
  for (const std::string& word : words) quoted.push_back(shell_quoted(word));
  return join(quoted, " ");
}

}  // namespace dlt::supervise
