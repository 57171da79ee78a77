// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/findings.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "launcher/supervise/process.h"

namespace dlt::supervise {
namespace {

constexpr std::streamoff kTail_bytes = 16384;
constexpr std::size_t kLines = 20;
constexpr std::size_t kLine_chars = 240;
constexpr std::int64_t kMaxRing_bytes = std::int64_t{64} << 20;

std::string log_path(const std::string& run_dir, std::int32_t rank) {
  return cat(run_dir, "/logs/rank-", rank < 10 ? "0" : "", rank, ".log");
}

}  // namespace

std::vector<std::string> last_log_lines(const std::string& run_dir, std::int32_t rank) {
  std::ifstream file(log_path(run_dir, rank), std::ios::binary | std::ios::ate);
  if (!file) return {};
  const std::streamoff size = file.tellg();
  file.seekg(std::max<std::streamoff>(0, size - kTail_bytes));
  std::vector<std::string> out;
  for (std::string line; std::getline(file, line);) out.push_back(printable(line, kLine_chars));
  if (size > kTail_bytes && !out.empty()) out.erase(out.begin());  // begins inside a line
  if (out.size() > kLines) out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(kLines));
  return out;
}

RankFinding find_here(const std::string& memory_dir, std::int32_t rank, pid_t pid,
                      const Clock& clock) {
  RankFinding out{.rank = rank};
  if (pid > 0) {
    const char state = process_info(pid).state;
    out.process_state = state == ' ' ? 'X' : state;
  }
  out.read_mono_s = clock.monotonic_s();
  try {
    out.ring = observe::read_ring(observe::ring_path(memory_dir, rank));
  } catch (const Error&) {  // there is none, or what a rank left of it makes no sense
    out.ring.reset();
  }
  return out;
}

std::string findings_script(const std::string& memory_dir,
                            const std::map<std::int32_t, std::int64_t>& pids) {
  std::string out =
      "f() { s=$(sed 's/.*) //; s/ .*//' /proc/$2/stat 2>/dev/null); "
      "u=$(sed 's/ .*//' /proc/uptime); n=$(stat -c %s \"$3\" 2>/dev/null); "
      "echo \"rank $1 ${s:-gone} $u ${n:-0}\"; [ -z \"$n\" ] || head -c \"$n\" \"$3\"; }\n";
  for (const auto& [rank, pid] : pids)
    out += cat("f ", rank, " ", pid, " ", observe::ring_path(memory_dir, rank), "\n");
  return out;
}

std::vector<RankFinding> parse_findings(std::string_view text) {
  std::vector<RankFinding> out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    std::istringstream head{std::string(text.substr(0, end))};
    text.remove_prefix(end + 1);
    std::string word, state;
    RankFinding found;
    std::int64_t size = 0;
    head >> word >> found.rank >> state >> found.read_mono_s >> size;
    if (!head || word != "rank" || size < 0 || size > kMaxRing_bytes ||
        static_cast<std::size_t>(size) > text.size())
      break;
    if (state.size() == 1) found.process_state = state.front();
    if (state == "gone") found.process_state = 'X';
    if (size > 0) {
      const std::string bytes(text.substr(0, static_cast<std::size_t>(size)));
      try {
        found.ring = observe::parse_ring("a rank of another host", bytes);
      } catch (const Error&) {
        found.ring.reset();
      }
      text.remove_prefix(bytes.size());
    }
    out.push_back(std::move(found));
  }
  return out;
}

}  // namespace dlt::supervise
