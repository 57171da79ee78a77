// SPDX-License-Identifier: Apache-2.0
#include "base/generation.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt {
namespace {

std::string generation_path(const std::string& run_dir) { return run_dir + "/generation"; }

std::string holder_text() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return cat("process ", getpid(), " on ", host.data(), "\n");
}

}  // namespace

std::int64_t read_generation(const std::string& run_dir) {
  const std::string path = generation_path(run_dir);
  if (!exists(path)) return 0;
  const std::string text = read_file(path, {.max_bytes = 64});
  std::int64_t out = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, out);
  if (error != std::errc() || std::string_view(at, end) != "\n" || out < 0) {
    throw Error(Exit::data, cat(path, ": expected a number, got '", printable(text), "'"),
                "remove the file if no job trains in this folder");
  }
  return out;
}

void write_generation(Fs& fs, const std::string& run_dir, std::int64_t generation) {
  write_atomically(fs, generation_path(run_dir), cat(generation, "\n"));
}

void require_newest_generation(const std::string& run_dir, std::int64_t generation) {
  const std::int64_t newest = read_generation(run_dir);
  if (generation == 0 || newest <= generation) return;
  throw Error(Exit::peer_lost,
              cat(run_dir, ": generation ", newest, " of this run has started; generation ",
                  generation, " writes no more"));
}

RunLock::RunLock(const std::string& run_dir, double timeout_s, const std::string& name) {
  const std::string path = cat(run_dir, "/", name);
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd_ < 0) throw Error(Exit::io, cat(path, ": open: ", std::strerror(errno)));
  SystemClock clock;
  const double deadline_s = clock.monotonic_s() + timeout_s;
  while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    const int code = errno;
    if (code == EWOULDBLOCK && clock.monotonic_s() < deadline_s) {
      clock.sleep_s(0.02);
      continue;
    }
    std::array<char, 320> holder{};
    const ssize_t got = ::pread(fd_, holder.data(), holder.size() - 1, 0);
    ::close(fd_);
    if (code != EWOULDBLOCK) throw Error(Exit::io, cat(path, ": flock: ", std::strerror(code)));
    std::string who(holder.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    if (who.ends_with('\n')) who.pop_back();
    throw Error(Exit::unavailable,
                cat(run_dir, ": another job trains in this folder: ", printable(who)),
                "end it, or give this job another run.dir");
  }
  const std::string text = holder_text();
  // For people only; a full disk must not keep a run from starting.
  if (::ftruncate(fd_, 0) == 0 && ::pwrite(fd_, text.data(), text.size(), 0) < 0) return;
}

RunLock::~RunLock() { ::close(fd_); }

}  // namespace dlt
