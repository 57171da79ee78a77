// SPDX-License-Identifier: Apache-2.0
#include "train/run_log.h"

#include <cmath>
#include <iomanip>
#include <sstream>

#include "base/text.h"

namespace dlt::train {
namespace {

/// RUN/logs/KIND-03EXTENSION
std::string log_name(const std::string& dir, const char* kind, int rank, const char* extension) {
  std::ostringstream out;
  out << dir << "/logs/" << kind << "-" << std::setw(2) << std::setfill('0') << rank << extension;
  return out.str();
}

/// A row a bucket: ready, started, finished (since the step began) and waited for, in milliseconds
/// to the microsecond.
observe::Table bucket_table(std::span<const ddp::BucketTimes> buckets) {
  const auto ms = [](double s) { return std::round(s * 1e6) / 1e3; };
  observe::Table rows;
  for (const ddp::BucketTimes& b : buckets) {
    rows.push_back({ms(b.ready_s), ms(b.started_s), ms(b.finished_s), ms(b.waited_s)});
  }
  return rows;
}

}  // namespace

std::string stack_file(const std::string& run_dir, int rank) {
  return log_name(run_dir, "stack", rank, ".txt");
}

std::string trace_file(const std::string& run_dir, int rank) {
  return log_name(run_dir, "trace", rank, ".json");
}

std::string describe(const MetricValues& values) {
  std::ostringstream out;
  out << std::setprecision(4);
  for (std::size_t i = 0; i < values.size(); ++i) {
    out << (i == 0 ? "" : "  ") << values[i].first << " " << values[i].second;
  }
  return out.str();
}

RunLog::RunLog(const RunLogOptions& options, const Clock& clock)
    : root_(options.rank == 0),
      clock_(&clock),
      start_s_(clock.monotonic_s()),
      progress_(root_ ? options.progress : observe::ProgressStyle::quiet, clock),
      log_(log_name(options.dir, "rank", options.rank, ".log"), std::ios::app) {
  if (!root_) return;
  events_ =
      std::make_unique<observe::EventLog>(options.dir + "/events.jsonl", clock, options.generation);
  if (options.tensorboard)
    tensorboard_ = std::make_unique<observe::TensorBoardLog>(options.dir, clock);
}

void RunLog::event(std::string_view name, const observe::Fields& fields) {
  if (events_) events_->write(name, fields);
}

void RunLog::step(const StepReport& report, const SumLayout& sums, double samples_per_s,
                  const observe::Fields& gpu) {
  if (!root_) return;
  const MetricValues values = sums.values(report.sums);
  observe::Fields fields{
      {"step", report.step + 1}, {"epoch", report.epoch}, {"samples", report.samples}};
  for (const auto& [name, value] : values) fields.emplace_back(name, value);
  fields.insert(fields.end(), {{"lr", report.learning_rate},
                               {"grad_norm", report.grad_norm},
                               {"samples_per_s", samples_per_s},
                               {"compute", report.compute_s},
                               {"comm_exposed", report.comm_exposed_s},
                               {"data_wait", report.data_wait_s}});
  if (report.loss_scale > 0) fields.emplace_back("loss_scale", report.loss_scale);
  fields.insert(fields.end(), gpu.begin(), gpu.end());
  if (!report.buckets.empty()) fields.emplace_back("buckets_ms", bucket_table(report.buckets));
  event("step", fields);
  if (!tensorboard_) return;
  for (const auto& [name, value] : values)
    tensorboard_->scalar(cat("train/", name), report.step + 1, value);
  tensorboard_->scalar("train/learning_rate", report.step + 1, report.learning_rate);
  tensorboard_->scalar("speed/samples_per_s", report.step + 1, samples_per_s);
  for (const auto& [name, value] : gpu) {
    const auto* number = std::get_if<double>(&value);
    tensorboard_->scalar(
        cat("gpu/", name), report.step + 1,
        number != nullptr ? *number : static_cast<double>(std::get<std::int64_t>(value)));
  }
}

void RunLog::evaluation(std::int64_t step, const MetricValues& values, const MetricTables& tables) {
  if (!root_) return;
  observe::Fields fields{{"step", step}};
  for (const auto& [name, value] : values) {
    fields.emplace_back(name, value);
    if (tensorboard_) tensorboard_->scalar(cat("eval/", name), step, value);
  }
  for (const auto& [name, table] : tables) fields.emplace_back(name, table);
  event("eval", fields);
}

void RunLog::line(const std::string& text) {
  if (root_) progress_.line(text);
  note(text);
}

void RunLog::note(const std::string& text) {
  log_ << std::fixed << std::setprecision(3) << clock_->monotonic_s() - start_s_ << " s  " << text
       << "\n"
       << std::flush;
}

void RunLog::finish() {
  progress_.finish();
  if (tensorboard_) tensorboard_->flush();
}

}  // namespace dlt::train
