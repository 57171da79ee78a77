// SPDX-License-Identifier: Apache-2.0
#include "observe/progress.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace dlt::observe {
namespace {

constexpr double kTerminalInterval_s = 0.1;

std::size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
}

std::string speed_text(double per_s) {
  if (per_s >= 1e6) return fmt::format("{:.1f}M samples/s", per_s / 1e6);
  if (per_s >= 1e4) return fmt::format("{:.1f}k samples/s", per_s / 1e3);
  return fmt::format("{:.0f} samples/s", per_s);
}

std::string time_text(double seconds) {
  const auto s = static_cast<long long>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  return fmt::format("{}:{:02} h", s / 3600, s / 60 % 60);
}

void put(const std::string& text) {
  (void)std::fwrite(text.data(), 1, text.size(), stderr);
  (void)std::fflush(stderr);
}

}  // namespace

Progress::Progress(ProgressStyle style, const Clock& clock, double plain_interval_s)
    : style_(style), clock_(&clock), plain_interval_s_(plain_interval_s) {}

std::string Progress::format(const ProgressState& state, double seconds_to_go) const {
  std::string out;
  if (state.num_epochs > 0) out += fmt::format("epoch {}/{}  ", state.epoch + 1, state.num_epochs);
  out += fmt::format("step {}/{}", state.step, state.num_steps);
  for (const auto& [name, value] : state.values) out += fmt::format("  {} {:.4g}", name, value);
  out += "  " + speed_text(state.samples_per_s);
  if (seconds_to_go >= 0) out += fmt::format("  {} to go", time_text(seconds_to_go));
  return out;
}

void Progress::update(const ProgressState& state) {
  if (style_ == ProgressStyle::quiet) return;
  const double now = clock_->monotonic_s();
  if (first_time_ < 0) {
    first_time_ = now;
    first_step_ = state.step;
    if (style_ == ProgressStyle::plain)
      last_time_ = now;  // the first plain line comes after an interval
  }
  const double interval =
      style_ == ProgressStyle::terminal ? kTerminalInterval_s : plain_interval_s_;
  if (now - last_time_ < interval) return;
  last_time_ = now;
  const auto done = static_cast<double>(state.step - first_step_);
  const double to_go =
      done > 0 ? (now - first_time_) / done * static_cast<double>(state.num_steps - state.step)
               : -1.0;
  std::string text = format(state, to_go);
  if (style_ == ProgressStyle::plain) {
    put(text + "\n");
    return;
  }
  text.resize(std::min(text.size(), terminal_width() - 1));
  put("\r" + text + "\x1b[K");
  last_width_ = text.size();
}

void Progress::line(const std::string& text) {
  if (style_ == ProgressStyle::quiet) return;
  put((style_ == ProgressStyle::terminal && last_width_ > 0 ? "\r\x1b[K" : "") + text + "\n");
  last_width_ = 0;
}

void Progress::finish() {
  if (style_ == ProgressStyle::terminal && last_width_ > 0) put("\n");
  last_width_ = 0;
}

bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

}  // namespace dlt::observe
