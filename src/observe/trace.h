// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "observe/events.h"

namespace dlt::observe {

/// A stretch of time, in seconds of the monotonic clock.
struct TraceSpan {
  std::string name;
  double start_s = 0, end_s = 0;
  Fields args = {};
};

/// What one rank did and when.
struct Trace {
  struct Lane {
    std::string name;              // "worker 1"
    std::vector<TraceSpan> spans;  // each inside another one or apart from it
  };
  int rank = 0;
  std::string process;  // "rank 0 on node-a"
  std::vector<Lane> lanes;
  std::vector<TraceSpan> free_spans;  // that may overlap in any way; each gets a line of its own
};

/// In Chrome's trace event format, which chrome://tracing and ui.perfetto.dev open.
/// source  Trace Event Format,
/// docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
[[nodiscard]] std::string trace_text(const Trace& trace);

}  // namespace dlt::observe
