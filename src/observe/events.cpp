// SPDX-License-Identifier: Apache-2.0
#include "observe/events.h"

#include <exception>
#include <mutex>

#include "observe/json_text.h"
#include "observe/log_file.h"

namespace dlt::observe {

struct EventLog::Impl {
  Impl(const std::string& path, const Clock& the_clock, std::int64_t the_generation)
      : file(path, LogFile::Mode::append), clock(&the_clock), generation(the_generation) {
    torn = file.ends_inside_line();
  }

  LogFile file;
  const Clock* clock;
  std::int64_t generation;
  std::mutex mutex;   // lines come from the step loop and from the checkpoint's writer
  std::string line;   // kept, so that an event allocates nothing once the log is warm
  bool torn = false;  // the file ends inside a line
};

EventLog::EventLog(const std::string& path, const Clock& clock, std::int64_t generation)
    : impl_(std::make_unique<Impl>(path, clock, generation)) {}

EventLog::~EventLog() = default;

void EventLog::write(std::string_view event, const Fields& fields) {
  const std::lock_guard lock(impl_->mutex);
  try {
    std::string& line = impl_->line;
    line = impl_->torn ? "\n{\"ev\": " : "{\"ev\": ";
    append_json(line, event);
    line += ", \"t_mono\": ";
    append_seconds(line, impl_->clock->monotonic_s());
    line += ", \"t_wall\": ";
    append_seconds(line, impl_->clock->wall_s());
    line += ", \"generation\": ";
    append_json(line, FieldValue(impl_->generation));
    for (const auto& [key, value] : fields) {
      line += ", ";
      append_json(line, std::string_view(key));
      line += ": ";
      append_json(line, value);
    }
    line += "}\n";
    impl_->torn = !impl_->file.append(line);
  } catch (const std::exception&) {  // no memory for a line: the next event may fit again
  }
}

}  // namespace dlt::observe
