// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/sweep.h"

#include <filesystem>
#include <span>

#include <unistd.h>

#include "base/hash.h"
#include "base/text.h"

namespace dlt::supervise {
namespace {

/// Programs and variables are compared as a whole (-x, entries end with NUL): neither this script
/// nor its grep is taken for one of the run's, nor those of another host that shares the process
/// table, which name folders with a slash at the end.
constexpr const char* kKill = R"(
n=0
while
  pids=$( { grep -lsxz -e "DLRUN_MEMORY=$d" /proc/[0-9]*/environ
            grep -lsxz -e "$d/mpi-[0-9]*" /proc/[0-9]*/cmdline; } 2>/dev/null |
          sed 's|/proc/||; s|/.*||' | sort -u )
  [ -n "$pids" ]
do
  kill -KILL $pids 2>/dev/null
  n=$((n + 1)); [ $n -lt 40 ] || exit 1
  sleep 0.05
done
)";

constexpr const char* kSweepMpich = R"(
for f in /dev/shm/mpich_shar_tmp*; do
  [ -f "$f" ] && [ -O "$f" ] && ! grep -qs "$f" /proc/[0-9]*/maps && rm -f "$f"
done
)";

constexpr const char* kRequireOwn = R"(
if [ -e "$d" ] || [ -L "$d" ]; then
  if [ -L "$d" ] || [ ! -d "$d" ] || [ ! -O "$d" ]; then exit 77; fi
  chmod 700 "$d" || exit 77
fi
)";

std::string head(const std::string& memory_dir) {
  return cat("d=", memory_dir, "; umask 077", kRequireOwn, kKill);
}

}  // namespace

std::string memory_dir_of(const std::string& run_dir) {
  const std::string path =
      std::filesystem::weakly_canonical(std::filesystem::absolute(run_dir)).string();
  const std::string hash = sha256_hex(std::as_bytes(std::span(path)));
  return cat("/dev/shm/dlrun-", getuid(), "-", hash.substr(0, 16));
}

std::string scratch_dir_of(const std::string& memory_dir, std::int64_t generation) {
  return cat(memory_dir, "/mpi-", generation);
}

std::string prepare_script(const PrepareOptions& options) {
  return cat(
      head(options.memory_dir), options.mpich ? kSweepMpich : "",
      options.wipe ? "rm -rf \"$d\"\n" : "rm -rf \"$d\"/mpi-*/\n", "mkdir -p ",
      scratch_dir_of(options.memory_dir, options.generation), "/",
      " || exit 1\n"
      "a=$(nproc) b=$(lscpu -p=core,socket 2>/dev/null | grep -v '^#' | sort -u | wc -l)\n"
      "if [ \"$b\" -gt 0 ] && [ \"$b\" -lt \"$a\" ]; then echo \"$b\"; else echo \"$a\"; fi\n");
}

std::string remove_script(const std::string& memory_dir) {
  return cat(head(memory_dir), "rm -rf \"$d\"\n");
}

std::string sweep_script(const std::string& memory_dir, bool mpich) {
  return cat(head(memory_dir), mpich ? kSweepMpich : "", "rm -rf \"$d\"/mpi-*/\n");
}

}  // namespace dlt::supervise
