// SPDX-License-Identifier: Apache-2.0
#include "train/step_tracer.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "train/run_log.h"

namespace dlt::train {
namespace {

constexpr std::int64_t kUntraced_steps = 2;
/// Of all steps together: a thousand steps of some twenty leaves.
constexpr std::size_t kMost_marks = 1 << 16;

observe::TraceSpan span_of(const observe::Mark& mark, double start_s, double end_s) {
  observe::TraceSpan out{.name = std::string(observe::name(mark.phase)),
                         .start_s = start_s,
                         .end_s = end_s,
                         .args = {{"step", mark.step + 1}}};
  if (mark.leaf >= 0) out.args.emplace_back("leaf", std::int64_t{mark.leaf});
  if (mark.bucket >= 0) out.args.emplace_back("bucket", std::int64_t{mark.bucket});
  if (mark.row >= 0) out.args.emplace_back("row", mark.row);
  return out;
}

}  // namespace

StepTracer::StepTracer(const StepTracerOptions& options, observe::Pulse& next)
    : options_(options), pulse_(next, options.clock, options.num_steps > 0 ? kMost_marks : 0) {
  trace_.rank = options.rank;
  trace_.process = cat("rank ", options.rank, " on ", options.host);
}

bool StepTracer::wanted(std::int64_t step) const {
  const std::int64_t first = options_.first_step + kUntraced_steps;
  return step >= first && step < first + options_.num_steps;
}

bool StepTracer::begin(std::int64_t step) {
  if (!wanted(step)) return false;
  if (trace_.lanes.empty()) {
    trace_.lanes.push_back({"steps", {}});
    trace_.lanes.push_back({"main thread", {}});
    lanes_[std::this_thread::get_id()] = 1;
  }
  begin_s_ = options_.clock.monotonic_s();
  pulse_.start();
  return true;
}

bool StepTracer::end(const StepReport& report) {
  if (!wanted(report.step)) return false;
  const double end_s = options_.clock.monotonic_s();
  trace_.lanes.front().spans.push_back(
      {.name = cat("step ", report.step + 1), .start_s = begin_s_, .end_s = end_s});
  add_threads(pulse_.stop(), end_s);
  add_buckets(report);
  add_kernels(report);
  to_write_ = true;
  return !wanted(report.step + 1);
}

void StepTracer::write() {
  if (!std::exchange(to_write_, false)) return;
  write_atomically(options_.fs, trace_file(options_.dir, options_.rank), trace_text(trace_));
}

observe::Trace::Lane& StepTracer::lane_of(const observe::TracePulse::Note& note) {
  const auto [found, added] = lanes_.try_emplace(note.thread, trace_.lanes.size());
  if (added) {
    const bool leaves = note.mark.leaf >= 0;
    trace_.lanes.push_back({leaves ? cat("worker of leaf ", note.mark.leaf) : "communication", {}});
  }
  return trace_.lanes[found->second];
}

/// A phase lasts until the thread's next one. A worker's last one ends when the main thread goes on
/// to what follows all leaves.
void StepTracer::add_threads(const Notes& notes, double end_s) {
  const std::thread::id self = std::this_thread::get_id();
  double leaves_end_s = end_s;
  std::map<std::thread::id, observe::TracePulse::Note> open;
  const auto close = [&](const observe::TracePulse::Note& note, double at_s) {
    lane_of(note).spans.push_back(span_of(note.mark, note.time_s, std::max(at_s, note.time_s)));
  };
  for (const observe::TracePulse::Note& note : notes) {
    if (note.thread == self && note.mark.leaf < 0)
      leaves_end_s = std::min(leaves_end_s, note.time_s);
    const auto before = open.find(note.thread);
    if (before != open.end()) close(before->second, note.time_s);
    open[note.thread] = note;
  }
  for (const auto& [thread, note] : open) {
    const bool worker = thread != self && note.mark.leaf >= 0 && note.time_s <= leaves_end_s;
    close(note, worker ? leaves_end_s : end_s);
  }
}

void StepTracer::add_buckets(const StepReport& report) {
  std::int64_t bucket = 0;
  for (const ddp::BucketTimes& times : report.buckets) {
    trace_.free_spans.push_back({.name = cat("bucket ", bucket),
                                 .start_s = begin_s_ + times.ready_s,
                                 .end_s = begin_s_ + std::max(times.finished_s, times.ready_s),
                                 .args = {{"step", report.step + 1},
                                          {"bucket", bucket},
                                          {"started_ms", (times.started_s - times.ready_s) * 1e3},
                                          {"waited_ms", times.waited_s * 1e3}}});
    ++bucket;
  }
}

void StepTracer::add_kernels(const StepReport& report) {
  while (kernel_lanes_.size() < report.kernels.size()) {
    const bool one = report.kernels.size() == 1;
    kernel_lanes_.push_back(trace_.lanes.size());
    trace_.lanes.push_back(
        {one ? std::string("kernels") : cat("kernels of worker ", kernel_lanes_.size() - 1), {}});
  }
  for (std::size_t worker = 0; worker < report.kernels.size(); ++worker) {
    for (const KernelSpan& kernel : report.kernels[worker]) {
      trace_.lanes[kernel_lanes_[worker]].spans.push_back({.name = kernel.name,
                                                           .start_s = kernel.start_s,
                                                           .end_s = kernel.end_s,
                                                           .args = {{"step", report.step + 1}}});
    }
  }
}

}  // namespace dlt::train
