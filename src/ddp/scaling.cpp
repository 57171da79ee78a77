// SPDX-License-Identifier: Apache-2.0
#include "ddp/scaling.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "ddp/scaling_schedule.h"

namespace dlt::ddp {
namespace {

/// When [0, prefix) is final within a leaf.
double final_s(const std::vector<ReadyPoint>& ready, std::int64_t prefix) {
  for (const ReadyPoint& point : ready) {
    if (point.prefix >= prefix) return point.time_s;
  }
  throw Error(Exit::internal, cat("predict_step: element ", prefix, " is never final"));
}

/// A step of two lines, what computes and what communicates; all times from its begin.
class Play {
 public:
  Play(const StepProfile& profile, const Fabric& fabric, const ScaledJob& job)
      : profile_(profile), job_(job), schedule_(profile, fabric, job) {
    const LeafDivision division = job.reducer.division(job.num_ranks);
    const int workers = job.reducer.num_workers;
    const int rounds = (division.most_leaves() + workers - 1) / workers;
    out_.compute_s = rounds * profile.leaf_s;
    last_leaf_s_ = out_.compute_s - profile.leaf_s;
    one_leaf_each_ = rounds == 1;
  }

  Prediction run() {
    if (job_.num_ranks > 1 && job_.reducer.shards && job_.reducer.gathers) gather_parameters();
    reduce_buckets();
    out_.exposed_s = late_s_;
    main_s_ = out_.compute_s + late_s_;
    update();
    const bool takes_mean = job_.num_ranks > 1 && job_.reducer.reduction == Reduction::none;
    if (takes_mean) take_mean();
    out_.step_s = main_s_ + profile_.other_s;
    return out_;
  }

 private:
  /// Those of the step before, last bucket first, beside the forward pass of the first leaves.
  void gather_parameters() {
    const std::vector<Bucket>& buckets = job_.reducer.buckets;
    std::vector<double> there_s(buckets.size());
    for (std::size_t b = buckets.size(); b-- > 0;) {
      const ScalingSchedule::Time time = schedule_.gather(b);
      landed_s_ += time.total_s;
      out_.wire_s += time.wire_s;
      there_s[b] = landed_s_;
    }
    std::vector<NeedPoint> needed = profile_.needed;
    if (needed.empty()) needed.push_back({});
    for (const NeedPoint& point : needed) {
      std::size_t b = 0;
      while (b + 1 < buckets.size() && buckets[b].end <= point.from) ++b;
      if (!buckets.empty()) late_s_ = std::max(late_s_, there_s[b] - point.time_s);
    }
  }

  [[nodiscard]] double compute_end_s() const { return out_.compute_s + late_s_; }

  void reduce_buckets() {
    const std::vector<Bucket>& buckets = job_.reducer.buckets;
    const bool waits = job_.reducer.release && schedule_.overlaps() && one_leaf_each_;
    for (std::size_t b = 0; b < buckets.size(); ++b) {
      const double ready_s = schedule_.overlaps()
                                 ? last_leaf_s_ + final_s(profile_.ready, buckets[b].end) + late_s_
                                 : compute_end_s();
      // Workers are kept from running ahead where memory is given back.
      if (waits && b >= kBuckets_ahead && b + 1 < buckets.size()) {
        late_s_ += std::max(0.0, all_landed_s_[b - kBuckets_ahead] - ready_s);
      }
      const ScalingSchedule::Time time = schedule_.bucket(b);
      const double start_s = std::max(landed_s_, ready_s);
      if (!job_.spare_cores) {  // leaves wait for the core, as long as there are any
        late_s_ += std::clamp(compute_end_s() - start_s, 0.0, time.coding_s);
      }
      landed_s_ = start_s + time.total_s;
      all_landed_s_.push_back(landed_s_);
      out_.wire_s += time.wire_s;
    }
  }

  void wait_until(double time_s) {
    out_.exposed_s += std::max(0.0, time_s - main_s_);
    main_s_ = std::max(main_s_, time_s);
  }

  /// Behind all leaves: buckets as they land or, behind the step's message, all at once.
  void update() {
    double share = 0;
    for (std::size_t b = 0; b < all_landed_s_.size(); ++b) {
      const double of_bucket = schedule_.update_share(b);
      share += of_bucket;
      if (!job_.updates_early) continue;
      wait_until(all_landed_s_[b]);
      main_s_ += profile_.update_s * of_bucket;
    }
    wait_until(std::max(landed_s_, compute_end_s()) + schedule_.message_s());
    if (all_landed_s_.empty()) share = 1;
    if (!job_.updates_early) main_s_ += profile_.update_s * share;
  }

  /// Everybody waits for it; a part of it falls to each step.
  void take_mean() {
    const ScalingSchedule::Time time = schedule_.mean();
    const auto every = static_cast<double>(job_.mean.every);
    out_.wire_s += time.wire_s / every;
    wait_until(main_s_ + time.total_s / every);
  }

  const StepProfile& profile_;
  const ScaledJob& job_;
  ScalingSchedule schedule_;
  Prediction out_;
  double last_leaf_s_ = 0;  // the last leaf of the rank with most begins
  bool one_leaf_each_ = true;
  double late_s_ = 0;    // leaves, for what communication makes them wait
  double landed_s_ = 0;  // what is communicated
  double main_s_ = 0;    // what the step does
  std::vector<double> all_landed_s_;
};

}  // namespace

comm::Hosts blocks_of_ranks(int num_ranks, int ranks_per_host) {
  comm::Hosts hosts;
  for (int rank = 0; rank < num_ranks; ++rank) {
    if (rank % ranks_per_host == 0) hosts.emplace_back();
    hosts.back().push_back(rank);
  }
  return hosts;
}

Prediction predict_step(const StepProfile& profile, const Fabric& fabric, const ScaledJob& job) {
  DLT_CHECK(job.reducer.num_leaves >= job.num_ranks, "predict_step: a leaf for each rank");
  return Play(profile, fabric, job).run();
}

Link supposed_link(const Fabric& fabric, const ScaledJob& job) {
  ScaledJob plain = job;
  plain.reducer.shards.reset();
  const StepProfile unused;
  const ScalingSchedule schedule(unused, fabric, plain);
  constexpr std::int64_t kSmall = 1 << 8, kLarge = 1 << 22;
  const double small_s = schedule.range({0, kSmall}).total_s;
  const double large_s = schedule.range({0, kLarge}).total_s;
  const double per_byte =
      (large_s - small_s) / (static_cast<double>(kLarge - kSmall) * kElement_bytes);
  return {.latency_s = small_s, .seconds_per_byte = std::max(per_byte, 1e-12)};
}

}  // namespace dlt::ddp
