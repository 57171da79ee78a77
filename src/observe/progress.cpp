// SPDX-License-Identifier: Apache-2.0
#include "observe/progress.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <iterator>
#include <string_view>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace dlt::observe {
namespace {

constexpr double kTerminalInterval_s = 0.1;
constexpr const char* kClearToEnd = "\x1b[K";

std::size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
}

/// The first characters of a UTF-8 text.
std::string_view head(std::string_view text, std::size_t num_characters) {
  std::size_t end = 0;
  for (std::size_t seen = 0; end < text.size(); ++end) {
    const bool starts = (static_cast<unsigned char>(text[end]) & 0xc0u) != 0x80u;
    if (starts && ++seen > num_characters) break;
  }
  return text.substr(0, end);
}

std::string speed_text(double per_s) {
  if (per_s >= 1e6) return fmt::format("{:.1f}M samples/s", per_s / 1e6);
  if (per_s >= 1e4) return fmt::format("{:.1f}k samples/s", per_s / 1e3);
  return fmt::format("{:.{}f} samples/s", per_s, per_s < 10 ? 1 : 0);
}

std::string time_text(double seconds) {
  const auto s = static_cast<std::int64_t>(std::llround(std::min(seconds, 1e9)));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  if (s < 48 * 3600) return fmt::format("{}:{:02} h", s / 3600, s / 60 % 60);
  return fmt::format("{:.1f} days", static_cast<double>(s) / 86400);
}

/// In one write, so that the lines of several ranks do not mix. A closed stderr is no error.
void put(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

Progress::Progress(ProgressStyle style, const Clock& clock, double plain_interval_s)
    : style_(style), clock_(&clock), plain_interval_s_(plain_interval_s) {}

std::string Progress::format(const ProgressState& state, double seconds_to_go) const {
  std::string out;
  const auto to = std::back_inserter(out);
  if (state.num_epochs > 0) {
    fmt::format_to(to, "epoch {}/{}  ", std::min(state.epoch + 1, state.num_epochs),
                   state.num_epochs);
  }
  fmt::format_to(to, "step {}/{}", state.step, state.num_steps);
  for (const auto& [name, value] : state.values) fmt::format_to(to, "  {} {:.4g}", name, value);
  if (state.samples_per_s > 0) fmt::format_to(to, "  {}", speed_text(state.samples_per_s));
  if (seconds_to_go >= 0) fmt::format_to(to, "  {} to go", time_text(seconds_to_go));
  return out;
}

void Progress::update(const ProgressState& state) {
  if (style_ == ProgressStyle::quiet) return;
  const bool terminal = style_ == ProgressStyle::terminal;
  const double now = clock_->monotonic_s();
  if (first_time_ < 0) {
    first_time_ = now;
    first_step_ = state.step;
    if (!terminal) last_time_ = now;  // a run shorter than an interval prints no plain lines
  }
  const bool is_last = terminal && state.step >= state.num_steps && state.step != last_step_;
  if (now - last_time_ < (terminal ? kTerminalInterval_s : plain_interval_s_) && !is_last) return;
  last_time_ = now;
  last_step_ = state.step;
  const std::int64_t done = state.step - first_step_;
  const std::int64_t left = state.num_steps - state.step;
  const double to_go = done > 0 && left > 0 ? (now - first_time_) * static_cast<double>(left) /
                                                  static_cast<double>(done)
                                            : -1.0;
  const std::string text = format(state, to_go);
  if (!terminal) return put(text + "\n");
  shown_ = head(text, terminal_width() - 1);  // a full line would wrap, and wrapped lines stay
  put("\r" + shown_ + kClearToEnd);
}

void Progress::line(const std::string& text) {
  if (style_ == ProgressStyle::quiet) return;
  if (shown_.empty()) return put(text + "\n");
  put(std::string("\r") + kClearToEnd + text + "\n" + shown_);
}

void Progress::finish() {
  if (!shown_.empty()) put("\n");
  shown_.clear();
}

bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

}  // namespace dlt::observe
