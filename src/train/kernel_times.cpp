// SPDX-License-Identifier: Apache-2.0
#include "train/kernel_times.h"

#include "autodiff/graph.h"

namespace dlt::train {

std::size_t KernelTimes::record() {
  if (num_events_ == events_.size()) {
    events_.push_back(device_.make_event(tensor::EventKind::timing));
  }
  queue_->record(*events_[num_events_]);
  return num_events_++;
}

void KernelTimes::start(tensor::Queue* queue) {
  queue_ = queue;
  if (queue_ != nullptr) queue_->wait();
  points_.push_back({"", clock_.monotonic_s(), queue_ != nullptr ? record() : 0});
}

void KernelTimes::called(const autodiff::Node& node) {
  if (points_.empty()) return;
  const std::string name(node.op->name);
  points_.push_back({node.scope.empty() ? name : node.scope + ": " + name,
                     queue_ != nullptr ? 0.0 : clock_.monotonic_s(),
                     queue_ != nullptr ? record() : 0});
}

std::vector<KernelSpan> KernelTimes::take() {
  std::vector<KernelSpan> spans;
  if (queue_ != nullptr && num_events_ > 0) events_[num_events_ - 1]->wait();
  const Point* begin = nullptr;
  double before_s = 0;
  for (const Point& point : points_) {
    if (point.name.empty()) {
      begin = &point;
      before_s = point.time_s;
      continue;
    }
    const double end_s =
        queue_ != nullptr
            ? begin->time_s + events_[point.event]->ms_since(*events_[begin->event]) * 1e-3
            : point.time_s;
    spans.push_back({.name = point.name, .start_s = before_s, .end_s = end_s});
    before_s = end_s;
  }
  points_.clear();
  num_events_ = 0;
  return spans;
}

}  // namespace dlt::train
