// SPDX-License-Identifier: Apache-2.0
#include "launcher/rank_env.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include <unistd.h>

#include "base/error.h"
#include "base/hmac.h"
#include "base/text.h"

namespace dlt::launcher {
namespace {

constexpr int kMaxRanks = 1 << 24;

/// One starter's variables. A starter is recognised by the variable of the rank, and by a second
/// one where the first also stands in environments that are no rank's.
struct Names {
  Starter starter;
  const char* rank;
  const char* also;
  const char* world_size;
  const char* local_rank;
  const char* local_size;
};
constexpr std::array<Names, 4> kStarters{{
    {Starter::open_mpi, "OMPI_COMM_WORLD_RANK", nullptr, "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {Starter::slurm, "SLURM_PROCID", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID",
     nullptr},
    {Starter::pmi, "PMI_RANK", nullptr, "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
    {Starter::pmix, "PMIX_RANK", nullptr, nullptr, nullptr, nullptr},
}};

std::optional<int> integer(const Lookup& lookup, const char* variable, int max) {
  const char* text = variable == nullptr ? nullptr : lookup(variable);
  if (text == nullptr) return std::nullopt;
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto result = std::from_chars(text, end, value);
  if (result.ec != std::errc() || result.ptr != end || value < 0 || value > max) {
    throw Error(Exit::unavailable,
                cat("environment: ", variable, ": expected an integer from 0 to ", max, ", got '",
                    printable(text), "'"),
                "unset it, or start dltrain by mpirun or srun");
  }
  return value;
}

std::vector<std::int64_t> steps_of(const std::string& text) {
  std::vector<std::int64_t> out;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view word = rest.substr(0, rest.find(','));
    std::int64_t step = -1;
    const auto result = std::from_chars(word.data(), word.data() + word.size(), step);
    const bool whole = result.ec == std::errc() && result.ptr == word.data() + word.size();
    if (!whole || step < 0 || word.size() + 1 == rest.size()) {
      throw Error(Exit::unavailable,
                  cat("environment: DLRUN_SKIP_STEPS: expected steps such as 12,845, got '",
                      printable(text), "'"),
                  "dlrun sets it; unset DLRUN_CONTROL to train without dlrun");
    }
    out.push_back(step);
    rest.remove_prefix(std::min(word.size() + 1, rest.size()));
  }
  return out;
}

RunSoFar read_so_far(const Lookup& lookup) {
  // For reports alone: what is no number counts as nothing.
  const auto number = [&](const char* variable) {
    std::int64_t value = 0;
    if (const char* text = lookup(variable)) {
      std::from_chars(text, text + std::strlen(text), value);
    }
    return value;
  };
  return {.restarts = number("DLRUN_RESTARTS"),
          .steps_lost = number("DLRUN_STEPS_LOST"),
          .furthest_step = number("DLRUN_FURTHEST_STEP"),
          .elapsed_s = static_cast<double>(number("DLRUN_ELAPSED_MS")) * 1e-3,
          .stepping_s = static_cast<double>(number("DLRUN_STEPPING_MS")) * 1e-3};
}

std::optional<Supervision> read_supervision(const Lookup& lookup) {
  const auto text = [&](const char* variable) {
    const char* value = lookup(variable);
    return std::string(value == nullptr ? "" : value);
  };
  Supervision out{.control = text("DLRUN_CONTROL"),
                  .token = text("DLRUN_TOKEN"),
                  .memory_dir = text("DLRUN_MEMORY")};
  if (out.control.empty()) return std::nullopt;
  out.generation = integer(lookup, "DLRUN_GENERATION", INT_MAX).value_or(1);
  out.skip_steps = steps_of(text("DLRUN_SKIP_STEPS"));
  out.so_far = read_so_far(lookup);
  if (!from_hex(out.token)) {
    throw Error(Exit::denied, "environment: DLRUN_TOKEN: expected 64 hex digits",
                "dlrun sets it; unset DLRUN_CONTROL to train without dlrun");
  }
  return out;
}

}  // namespace

const char* name(Starter starter) {
  switch (starter) {
    case Starter::none:
      return "none";
    case Starter::open_mpi:
      return "Open MPI";
    case Starter::pmix:
      return "PMIx";
    case Starter::pmi:
      return "PMI";
    case Starter::slurm:
      return "Slurm";
  }
  return "";
}

RankEnv read_rank_env(const Lookup& lookup) {
  RankEnv out;
  for (const Names& names : kStarters) {
    if (lookup(names.rank) == nullptr) continue;
    if (names.also != nullptr && lookup(names.also) == nullptr) continue;
    out.starter = names.starter;
    out.rank = integer(lookup, names.rank, kMaxRanks - 1).value_or(0);
    out.world_size = integer(lookup, names.world_size, kMaxRanks).value_or(0);
    out.local_rank = integer(lookup, names.local_rank, kMaxRanks - 1).value_or(0);
    out.local_size = integer(lookup, names.local_size, kMaxRanks).value_or(out.local_rank + 1);
    if (out.world_size > 0 && out.rank >= out.world_size) {
      throw Error(
          Exit::unavailable,
          cat("environment: ", names.rank, ": expected an integer from 0 to ", out.world_size - 1,
              " (", names.world_size, " is ", out.world_size, "), got '", out.rank, "'"),
          "start dltrain by mpirun or srun");
    }
    break;
  }
  out.supervision = read_supervision(lookup);
  if (const char* plan = lookup("DLTRAIN_KILL")) out.kill_plan = plan;
  return out;
}

Lookup process_env() {
  return [](const char* variable) { return std::getenv(variable); };
}

std::string own_host() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0 || host.front() == 0) return "localhost";
  return host.data();
}

RankEnv read_rank_env() {
  RankEnv out = read_rank_env(process_env());
  out.host = own_host();
  return out;
}

}  // namespace dlt::launcher
