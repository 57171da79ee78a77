// SPDX-License-Identifier: Apache-2.0
#include "ddp/device_reduction.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "ddp/device_sum.h"
#include "ddp/reduction_plan.h"

namespace dlt::ddp {
namespace {

std::int64_t size(const Bucket& range) { return range.end - range.begin; }

/// What a bucket takes, in this order; all memory is known when it is made.
struct Stage {
  std::optional<Bucket> zeroed;   // of the result: this rank has no leaves
  std::vector<DeviceSum> before;  // of this rank's nodes
  std::optional<Bucket> library;  // of the result: the library sums it over all ranks
  std::vector<comm::Send> sends;  // nodes, to those who finish them
  std::vector<comm::Receive> receives;
  std::optional<DeviceSum> sum;  // this rank's part
  std::vector<comm::Send> part_sends;
  std::vector<comm::Receive> part_receives;
  std::optional<DeviceSum> after;  // of the gathered parts
};

/// A node of some rank.
struct Source {
  int rank = 0;
  std::size_t index = 0;
};

}  // namespace

struct DeviceReduction::Impl {
  explicit Impl(DeviceReductionOptions options);

  [[nodiscard]] int world_size() const { return options_.division.world_size(); }
  [[nodiscard]] DType sent_type() const { return options_.bf16 ? DType::bf16 : DType::f32; }
  [[nodiscard]] std::int64_t sent_size() const {
    return static_cast<std::int64_t>(size_bytes(sent_type()));
  }
  /// Whether ranks send nodes to those who finish them.
  [[nodiscard]] bool exchanges() const {
    return world_size() > 1 &&
           (options_.kind == Reduction::exact || options_.bf16 || options_.shards);
  }
  void plan_sources();
  void allocate();
  void register_memory();
  [[nodiscard]] Stage plan_stage(const Bucket& bucket);
  void plan_exchange(const Bucket& bucket, Stage& stage);
  void plan_part(const Bucket& bucket, Stage& stage);
  void plan_gather(const Bucket& bucket, Stage& stage);
  [[nodiscard]] std::byte* own_node(std::size_t index, const Bucket& bucket, std::int64_t at) const;
  [[nodiscard]] std::byte* finished(const Bucket& bucket, std::int64_t at) const;
  void run(const Stage& stage);

  DeviceReductionOptions options_;
  ReductionPlan plan_;
  std::vector<float*> own_;           // what this rank sends: its nodes, or their sum
  std::vector<Source> sources_;       // of all ranks, left to right
  std::vector<std::int64_t> merges_;  // of sources_
  std::int64_t longest_ = 0;          // elements of the largest bucket
  tensor::Storage received_;          // nodes of other ranks
  tensor::Storage narrow_;            // bf16: this rank's nodes
  tensor::Storage parts_;             // bf16: the finished parts
  tensor::Storage numbers_;           // 0, 1, ... in device memory
  tensor::Storage under_way_;         // host: the bucket whose turn it is
  DeviceSums sums_;
  std::vector<Stage> stages_;
  std::vector<std::unique_ptr<comm::RegisteredBuffer>> registered_;
  std::unique_ptr<tensor::Queue> queue_;
  std::vector<std::unique_ptr<tensor::Event>> final_, through_;  // by bucket; one more for gather()
  std::unique_ptr<tensor::Event> given_;
  std::int64_t step_ = 0;
};

DeviceReduction::Impl::Impl(DeviceReductionOptions options)
    : options_(std::move(options)),
      plan_(options_.division, comm::lone_hosts(options_.division.world_size()), options_.shards),
      sums_(*options_.device) {
  DLT_CHECK(world_size() == 1 || options_.comm != nullptr,
            "device reduction: several ranks and no communicator");
  DLT_CHECK(options_.kind != Reduction::none, "device reduction: expected exact or fast");
  if (world_size() == 1) options_.bf16 = false;
  plan_sources();
  allocate();
  for (const Bucket& bucket : options_.buckets) stages_.push_back(plan_stage(bucket));
  register_memory();
  queue_ = options_.device->make_queue();
  given_ = options_.device->make_event(tensor::EventKind::order);
  for (std::size_t b = 0; b <= options_.buckets.size(); ++b) {
    final_.push_back(options_.device->make_event(tensor::EventKind::order));
    through_.push_back(options_.device->make_event(tensor::EventKind::order));
  }
}

void DeviceReduction::Impl::plan_sources() {
  const auto nodes = cover(options_.division.of(options_.rank), options_.division.num_leaves());
  DLT_CHECK(nodes.size() == options_.nodes.size(),
            cat("device reduction: ", options_.nodes.size(), " buffers for ", nodes.size(),
                " nodes that cover this rank's leaves"));
  if (options_.kind == Reduction::exact) {
    own_ = options_.nodes;
    const NodeSum& root = plan_.root_sum();
    for (const NodeRef& ref : root.sources) {
      sources_.push_back({ref.owner, static_cast<std::size_t>(ref.index)});
    }
    merges_ = merges_of(root.sources.size(), root.additions);
    return;
  }
  own_ = {options_.reduced};
  for (int rank = 0; rank < world_size(); ++rank) sources_.push_back({rank, 0});
  merges_ = one_after_the_other(sources_.size());
}

void DeviceReduction::Impl::allocate() {
  for (const Bucket& bucket : options_.buckets) longest_ = std::max(longest_, whole_lines(bucket));
  tensor::Backend& device = *options_.device;
  const auto num_buckets = static_cast<std::int64_t>(options_.buckets.size());
  std::vector<std::int64_t> numbers;
  for (std::int64_t b = 0; b < num_buckets; ++b) numbers.push_back(b);
  const auto numbers_bytes = num_buckets * static_cast<std::int64_t>(sizeof(std::int64_t));
  numbers_ = device.allocate(numbers_bytes);
  copy_now(device, numbers_.data(), numbers.data(), numbers_bytes);
  under_way_ = device.allocate_staging(sizeof(std::int64_t));
  if (!exchanges()) return;

  std::int64_t longest_part = 0;
  for (const Bucket& bucket : options_.buckets) {
    longest_part = std::max(longest_part, whole_lines(plan_.part(bucket, 0, options_.rank)));
  }
  const auto num_own = static_cast<std::int64_t>(own_.size());
  const auto num_received = std::count_if(sources_.begin(), sources_.end(),
                                          [&](const Source& s) { return s.rank != options_.rank; });
  received_ = device.allocate(num_received * longest_part * sent_size());
  if (!options_.bf16) return;
  narrow_ = device.allocate(num_own * longest_ * sent_size());
  if (!options_.shards) parts_ = device.allocate(longest_ * sent_size());
}

void DeviceReduction::Impl::register_memory() {
  if (options_.comm == nullptr) return;
  const std::int64_t total = options_.buckets.empty() ? 0 : options_.buckets.back().end;
  const auto add = [&](void* data, std::int64_t num_bytes) {
    if (num_bytes == 0) return;
    registered_.push_back(options_.comm->register_buffer(data, num_bytes));
  };
  std::vector<float*> flat = options_.nodes;
  flat.push_back(options_.reduced);
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  for (float* buffer : flat) add(buffer, total * static_cast<std::int64_t>(sizeof(float)));
  for (const tensor::Storage* storage : {&received_, &narrow_, &parts_}) {
    add(storage->data(), storage->size_bytes());
  }
}

/// Where element `at` of the bucket is in what this rank sends.
std::byte* DeviceReduction::Impl::own_node(std::size_t index, const Bucket& bucket,
                                           std::int64_t at) const {
  if (!options_.bf16) return reinterpret_cast<std::byte*>(own_[index] + at);
  const auto first = static_cast<std::int64_t>(index) * longest_;
  return narrow_.data() + (first + at - bucket.begin) * sent_size();
}

/// Where it is once its part is finished.
std::byte* DeviceReduction::Impl::finished(const Bucket& bucket, std::int64_t at) const {
  if (!options_.bf16) return reinterpret_cast<std::byte*>(options_.reduced + at);
  return parts_.data() + (at - bucket.begin) * sent_size();
}

Stage DeviceReduction::Impl::plan_stage(const Bucket& bucket) {
  Stage stage;
  float* reduced = options_.reduced + bucket.begin;
  std::vector<const void*> nodes;
  for (const float* node : options_.nodes) nodes.push_back(node + bucket.begin);
  const bool adds_up = options_.kind == Reduction::fast || world_size() == 1;
  if (adds_up && nodes.empty()) stage.zeroed = bucket;
  if (adds_up && !nodes.empty() && (nodes.size() > 1 || nodes[0] != reduced)) {
    stage.before.push_back(sums_.make({.from = nodes,
                                       .merges = one_after_the_other(nodes.size()),
                                       .to = reduced,
                                       .count = size(bucket)}));
  }
  if (world_size() == 1) return stage;
  if (!exchanges()) {
    stage.library = bucket;
    return stage;
  }
  for (std::size_t i = 0; options_.bf16 && i < own_.size(); ++i) {
    stage.before.push_back(sums_.make({.from = {own_[i] + bucket.begin},
                                       .to = own_node(i, bucket, bucket.begin),
                                       .to_type = DType::bf16,
                                       .count = size(bucket)}));
  }
  plan_exchange(bucket, stage);
  plan_part(bucket, stage);
  if (plan_.gathers(bucket)) plan_gather(bucket, stage);
  return stage;
}

void DeviceReduction::Impl::plan_exchange(const Bucket& bucket, Stage& stage) {
  for (int rank = 0; rank < world_size(); ++rank) {
    if (rank == options_.rank) continue;
    const Bucket part = plan_.part(bucket, 0, rank);
    for (std::size_t i = 0; i < own_.size() && size(part) > 0; ++i) {
      stage.sends.push_back({.peer = rank,
                             .data = own_node(i, bucket, part.begin),
                             .num_bytes = size(part) * sent_size()});
    }
  }
  const Bucket mine = plan_.part(bucket, 0, options_.rank);
  std::byte* place = received_.data();
  for (const Source& source : sources_) {
    if (source.rank == options_.rank || size(mine) == 0) continue;
    stage.receives.push_back(
        {.peer = source.rank, .data = place, .num_bytes = size(mine) * sent_size()});
    place += whole_lines(mine) * sent_size();
  }
}

void DeviceReduction::Impl::plan_part(const Bucket& bucket, Stage& stage) {
  const Bucket mine = plan_.part(bucket, 0, options_.rank);
  if (size(mine) == 0) return;
  std::vector<const void*> from;
  auto received = stage.receives.begin();
  for (const Source& source : sources_) {
    from.push_back(source.rank == options_.rank ? own_node(source.index, bucket, mine.begin)
                                                : (received++)->data);
  }
  const bool narrow = options_.bf16 && plan_.gathers(bucket);
  stage.sum = sums_.make({.from = std::move(from),
                          .from_type = sent_type(),
                          .merges = merges_,
                          .to = narrow ? static_cast<void*>(finished(bucket, mine.begin))
                                       : options_.reduced + mine.begin,
                          .to_type = narrow ? DType::bf16 : DType::f32,
                          .count = size(mine)});
}

void DeviceReduction::Impl::plan_gather(const Bucket& bucket, Stage& stage) {
  const Bucket mine = plan_.part(bucket, 0, options_.rank);
  for (int rank = 0; rank < world_size(); ++rank) {
    if (rank == options_.rank) continue;
    const Bucket theirs = plan_.part(bucket, 0, rank);
    stage.part_sends.push_back({.peer = rank,
                                .data = finished(bucket, mine.begin),
                                .num_bytes = size(mine) * sent_size()});
    stage.part_receives.push_back({.peer = rank,
                                   .data = finished(bucket, theirs.begin),
                                   .num_bytes = size(theirs) * sent_size()});
  }
  if (!options_.bf16) return;
  stage.after = sums_.make({.from = {finished(bucket, bucket.begin)},
                            .from_type = DType::bf16,
                            .to = options_.reduced + bucket.begin,
                            .count = size(bucket)});
}

void DeviceReduction::Impl::run(const Stage& stage) {
  if (stage.zeroed) {
    queue_->zero(options_.reduced + stage.zeroed->begin,
                 size(*stage.zeroed) * static_cast<std::int64_t>(sizeof(float)));
  }
  for (const DeviceSum& sum : stage.before) sum.run(*queue_);
  if (stage.library) {
    options_.comm->allreduce(options_.reduced + stage.library->begin, size(*stage.library),
                             queue_->handle());
  }
  if (!exchanges()) return;
  options_.comm->exchange(stage.sends, stage.receives, queue_->handle());
  if (stage.sum) stage.sum->run(*queue_);
  options_.comm->exchange(stage.part_sends, stage.part_receives, queue_->handle());
  if (stage.after) stage.after->run(*queue_);
}

DeviceReduction::DeviceReduction(DeviceReductionOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}

DeviceReduction::~DeviceReduction() = default;

void DeviceReduction::begin_step(std::int64_t step) {
  impl_->step_ = step;
  if (impl_->options_.comm != nullptr) impl_->options_.comm->post_step(step);
}

void DeviceReduction::enqueue(std::size_t bucket, tensor::Queue& compute) {
  Impl& i = *impl_;
  // Says whose turn it is while that one's nodes are still being computed; the first has to follow
  // compute, which may be capturing.
  const auto take_turn = [&] {
    const auto* number = reinterpret_cast<const std::int64_t*>(i.numbers_.data()) + bucket;
    if (i.stages_.size() > 1) i.queue_->copy(i.under_way_.data(), number, sizeof *number);
  };
  if (bucket > 0) take_turn();
  compute.record(*i.final_[bucket]);
  i.queue_->wait_for(*i.final_[bucket]);
  if (bucket == 0) take_turn();
  i.run(i.stages_[bucket]);
  i.queue_->record(*i.through_[bucket]);
}

void DeviceReduction::join(std::size_t bucket, tensor::Queue& compute) {
  compute.wait_for(*impl_->through_[bucket]);
}

void DeviceReduction::wait(tensor::Queue& compute, double timeout_s) {
  Impl& i = *impl_;
  compute.record(*i.given_);
  if (i.options_.comm == nullptr) return i.given_->wait();
  const auto what = [&i] {
    const std::atomic_ref word(*reinterpret_cast<std::int64_t*>(i.under_way_.data()));
    return cat("bucket ", word.load(), " of step ", i.step_);
  };
  i.options_.comm->wait_until([&i] { return i.given_->done(); }, what, timeout_s);
}

void DeviceReduction::gather(float* flat, tensor::Queue& queue) {
  Impl& i = *impl_;
  DLT_CHECK(i.options_.shards.has_value(), "device reduction: gathers with shards only");
  if (i.world_size() == 1) return;
  std::vector<comm::Send> sends;
  std::vector<comm::Receive> receives;
  constexpr auto kElement_bytes = static_cast<std::int64_t>(sizeof(float));
  for (const Bucket& bucket : i.options_.buckets) {
    const Bucket mine = i.plan_.part(bucket, 0, i.options_.rank);
    for (int rank = 0; rank < i.world_size(); ++rank) {
      if (rank == i.options_.rank) continue;
      const Bucket theirs = i.plan_.part(bucket, 0, rank);
      sends.push_back(
          {.peer = rank, .data = flat + mine.begin, .num_bytes = size(mine) * kElement_bytes});
      receives.push_back(
          {.peer = rank, .data = flat + theirs.begin, .num_bytes = size(theirs) * kElement_bytes});
    }
  }
  queue.record(*i.final_.back());
  i.queue_->wait_for(*i.final_.back());
  i.options_.comm->exchange(sends, receives, i.queue_->handle());
  i.queue_->record(*i.through_.back());
  queue.wait_for(*i.through_.back());
}

std::int64_t DeviceReduction::buffer_bytes() const {
  return impl_->received_.size_bytes() + impl_->narrow_.size_bytes() + impl_->parts_.size_bytes() +
         impl_->numbers_.size_bytes();
}

}  // namespace dlt::ddp
