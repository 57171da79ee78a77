// SPDX-License-Identifier: Apache-2.0
#include "observe/log_file.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt::observe {
namespace {

std::string errno_text(int code) { return std::system_category().message(code); }

/// 0, or errno. A short write (a signal, a nearly full disk) is gone on with.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

LogFile::LogFile(std::string path, Mode mode) : path_(std::move(path)) {
  const int flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC;
  do {
    fd_ = ::open(path_.c_str(), mode == Mode::create_new ? flags | O_EXCL : flags, 0666);
  } while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) {
    throw Error(Exit::io, cat(printable(path_, 4096), ": open() failed: ", errno_text(errno)));
  }
}

LogFile::~LogFile() { ::close(fd_); }

bool LogFile::append(std::string_view text) {
  const int code = write_all(fd_, text);
  if (code != 0 && !reported_) report(code);
  return code == 0;
}

void LogFile::report(int code) {
  reported_ = true;
  try {
    // stderr may be on the same full disk: nothing more can be done then.
    (void)write_all(STDERR_FILENO, cat("dltrain: warning: ", printable(path_, 4096),
                                       ": write() failed: ", errno_text(code),
                                       "; training goes on, this file has gaps\n"));
  } catch (const std::exception&) {  // no memory for a warning
  }
}

bool LogFile::ends_inside_line() const {
  // write(2) copies page by page and the size grows with every page: a line that another process is
  // writing looks torn for a moment, always at the end of a page. Setting the time of the file
  // needs the lock that its writers hold, so it returns after the write that was seen half done. A
  // size that has not changed by then is that of a line nobody is writing.
  constexpr int kMaxTries = 100;  // somebody writes without pause: then nothing is torn either
  off_t seen_bytes = -1;
  for (int i = 0; i < kMaxTries; ++i) {
    struct stat status {};
    char last = 0;
    if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0) return false;
    if (::pread(fd_, &last, 1, status.st_size - 1) != 1 || last == '\n') return false;
    if (status.st_size == seen_bytes) return true;
    seen_bytes = status.st_size;
    (void)::futimens(fd_, nullptr);
  }
  return false;
}

}  // namespace dlt::observe
