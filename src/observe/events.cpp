// SPDX-License-Identifier: Apache-2.0
#include "observe/events.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "observe/json_object.h"

namespace dlt::observe {

struct EventLog::Impl {
  std::string path;
  const Clock* clock = nullptr;
  std::int64_t generation = 0;
  int fd = -1;
  bool failed = false;

  ~Impl() {
    if (fd >= 0) ::close(fd);
  }

  /// One write(2) a line, so that lines of several writers never mix.
  void append(const std::string& text) {
    std::size_t done = 0;
    while (done < text.size()) {
      const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
      if (n > 0) {
        done += static_cast<std::size_t>(n);
      } else if (n < 0 && errno != EINTR) {
        if (!failed) {
          (void)std::fprintf(stderr, "dltrain: warning: %s: %s; later events may be missing\n",
                             path.c_str(), std::strerror(errno));
        }
        failed = true;
        return;
      }
    }
  }

  /// A power cut may have torn the last line: the next one must not be glued to it.
  void close_torn_line() {
    const off_t size = ::lseek(fd, 0, SEEK_END);
    char last = '\n';
    if (size > 0 && ::pread(fd, &last, 1, size - 1) == 1 && last != '\n') append("\n");
  }
};

EventLog::EventLog(const std::string& path, const Clock& clock, std::int64_t generation)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->clock = &clock;
  impl_->generation = generation;
  impl_->fd = ::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (impl_->fd < 0) throw Error(Exit::io, cat(path, ": open: ", std::strerror(errno)));
  impl_->close_torn_line();
}

EventLog::~EventLog() = default;

void EventLog::write(std::string_view event, const Fields& fields) {
  JsonObject line;
  line.set("ev", std::string(event));
  line.set("t_mono", impl_->clock->monotonic_s());
  line.set("t_wall", impl_->clock->wall_s());
  line.set("generation", impl_->generation);
  for (const auto& [name, value] : fields) line.set(name, value);
  impl_->append(line.text() + "\n");
}

}  // namespace dlt::observe
