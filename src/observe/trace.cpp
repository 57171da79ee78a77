// SPDX-License-Identifier: Apache-2.0
#include "observe/trace.h"

#include <cmath>
#include <cstdint>

#include "base/text.h"
#include "observe/json_object.h"

namespace dlt::observe {
namespace {

/// Microseconds to the nanosecond: what the format counts in.
double microseconds(double seconds) { return std::round(seconds * 1e9) / 1e3; }

class Writer {
 public:
  explicit Writer(int rank) : rank_(rank) {}

  void name(const char* what, std::int64_t lane, const std::string& text) {
    JsonObject event = begin("M", what, lane);
    JsonObject args;
    args.set("name", text);
    event.set("args", args);
    add(event);
  }
  void order(std::int64_t lane) {
    JsonObject event = begin("M", "thread_sort_index", lane);
    JsonObject args;
    args.set("sort_index", lane);
    event.set("args", args);
    add(event);
  }
  void complete(std::int64_t lane, const TraceSpan& span) {
    JsonObject event = begin("X", span.name, lane);
    event.set("ts", microseconds(span.start_s));
    event.set("dur", microseconds(span.end_s - span.start_s));
    set_args(event, span);
    add(event);
  }
  void async(std::int64_t id, const TraceSpan& span) {
    for (const bool start : {true, false}) {
      JsonObject event = begin(start ? "b" : "e", span.name, 0);
      event.set("cat", std::string("buckets"));
      event.set("id", cat(rank_, ".", id));
      event.set("ts", microseconds(start ? span.start_s : span.end_s));
      if (start) set_args(event, span);
      add(event);
    }
  }
  [[nodiscard]] std::string text() const {
    return cat("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n", events_, "\n]}\n");
  }

 private:
  [[nodiscard]] JsonObject begin(const char* phase, const std::string& name,
                                 std::int64_t lane) const {
    JsonObject event;
    event.set("ph", std::string(phase));
    event.set("name", name);
    event.set("pid", std::int64_t{rank_});
    event.set("tid", lane);
    return event;
  }
  static void set_args(JsonObject& event, const TraceSpan& span) {
    if (span.args.empty()) return;
    JsonObject args;
    for (const auto& [key, value] : span.args) args.set(key, value);
    event.set("args", args);
  }
  void add(const JsonObject& event) {
    if (!events_.empty()) events_ += ",\n";
    events_ += event.text();
  }

  int rank_;
  std::string events_;
};

}  // namespace

std::string trace_text(const Trace& trace) {
  Writer writer(trace.rank);
  writer.name("process_name", 0, trace.process);
  std::int64_t index = 0;
  for (const Trace::Lane& lane : trace.lanes) {
    writer.name("thread_name", index, lane.name);
    writer.order(index);
    for (const TraceSpan& span : lane.spans) writer.complete(index, span);
    ++index;
  }
  std::int64_t id = 0;
  for (const TraceSpan& span : trace.free_spans) writer.async(id++, span);
  return writer.text();
}

}  // namespace dlt::observe
