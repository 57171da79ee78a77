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

constexpr std::int64_t kNarrow_bytes = 2;

/// A range of a bucket that crosses ranks in one type.
struct Piece {
  Bucket bucket;
  Bucket range;
  DType type = DType::f32;
  [[nodiscard]] bool narrow() const { return type == DType::bf16; }
  [[nodiscard]] std::int64_t bytes(std::int64_t count) const {
    return count * static_cast<std::int64_t>(size_bytes(type));
  }
};

/// What a bucket takes, in this order; all memory is known when it is made.
struct Stage {
  std::optional<Bucket> zeroed;   // of the result: this rank has no leaves
  std::vector<DeviceSum> before;  // of this rank's nodes
  std::optional<Bucket> library;  // of the result: the library sums it over all ranks
  std::vector<comm::Send> sends;  // nodes, to those who finish them
  std::vector<comm::Receive> receives;
  std::vector<DeviceSum> sums;  // this rank's parts
  std::vector<comm::Send> part_sends;
  std::vector<comm::Receive> part_receives;
  std::vector<DeviceSum> after;  // of the gathered parts
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
  /// Whether ranks send nodes to those who finish them.
  [[nodiscard]] bool exchanges() const {
    return world_size() > 1 &&
           (options_.kind == Reduction::exact || options_.bf16 || options_.shards);
  }
  void plan_sources();
  void allocate();
  void register_memory();
  [[nodiscard]] std::vector<Piece> pieces_of(const Bucket& bucket) const;
  [[nodiscard]] Bucket part(const Piece& piece, int rank) const;
  [[nodiscard]] bool gathers(const Piece& piece) const { return plan_.gathers(piece.range); }
  [[nodiscard]] Stage plan_stage(const Bucket& bucket);
  [[nodiscard]] std::byte* plan_exchange(const Piece& piece, std::byte* place, Stage& stage);
  void plan_gather(const Piece& piece, Stage& stage);
  [[nodiscard]] std::byte* own_node(std::size_t index, const Piece& piece, std::int64_t at) const;
  [[nodiscard]] std::byte* finished(const Piece& piece, std::int64_t at) const;
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

  std::int64_t most_received = 0;  // bytes a node
  for (const Bucket& bucket : options_.buckets) {
    std::int64_t bytes = 0;
    for (const Piece& piece : pieces_of(bucket)) {
      bytes += piece.bytes(whole_lines(part(piece, options_.rank)));
    }
    most_received = std::max(most_received, bytes);
  }
  const auto num_received = std::count_if(sources_.begin(), sources_.end(),
                                          [&](const Source& s) { return s.rank != options_.rank; });
  received_ = device.allocate(num_received * most_received);
  if (!options_.bf16) return;
  narrow_ = device.allocate(static_cast<std::int64_t>(own_.size()) * longest_ * kNarrow_bytes);
  if (!options_.shards) parts_ = device.allocate(longest_ * kNarrow_bytes);
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

std::vector<Piece> DeviceReduction::Impl::pieces_of(const Bucket& bucket) const {
  if (!options_.bf16) return {{bucket, bucket}};
  std::vector<Piece> pieces;
  std::int64_t at = bucket.begin;
  const auto up_to = [&](std::int64_t end, DType type) {
    if (end > at) pieces.push_back({bucket, {at, end}, type});
    at = std::max(at, end);
  };
  for (const Bucket& range : options_.unrounded) {
    up_to(std::min(range.begin, bucket.end), DType::bf16);
    up_to(std::min(range.end, bucket.end), DType::f32);
  }
  up_to(bucket.end, DType::bf16);
  return pieces;
}

/// What a rank finishes.
Bucket DeviceReduction::Impl::part(const Piece& piece, int rank) const {
  if (!options_.shards) return plan_.part(piece.range, 0, rank);
  const Bucket slice = options_.shards->slice(piece.bucket, rank);
  const std::int64_t begin = std::max(slice.begin, piece.range.begin);
  return {begin, std::max(begin, std::min(slice.end, piece.range.end))};
}

/// Where element `at` is in what this rank sends.
std::byte* DeviceReduction::Impl::own_node(std::size_t index, const Piece& piece,
                                           std::int64_t at) const {
  if (!piece.narrow()) return reinterpret_cast<std::byte*>(own_[index] + at);
  const auto first = static_cast<std::int64_t>(index) * longest_;
  return narrow_.data() + piece.bytes(first + at - piece.bucket.begin);
}

/// Where it is once its part is finished, until all parts are there.
std::byte* DeviceReduction::Impl::finished(const Piece& piece, std::int64_t at) const {
  if (!piece.narrow() || !gathers(piece)) {
    return reinterpret_cast<std::byte*>(options_.reduced + at);
  }
  return parts_.data() + piece.bytes(at - piece.bucket.begin);
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
  std::byte* place = received_.data();
  for (const Piece& piece : pieces_of(bucket)) {
    place = plan_exchange(piece, place, stage);
    if (gathers(piece)) plan_gather(piece, stage);
  }
  return stage;
}

/// Nodes to those who finish them, and this rank's part of the piece. What it receives lies at
/// `place`; returns the end of that.
std::byte* DeviceReduction::Impl::plan_exchange(const Piece& piece, std::byte* place,
                                                Stage& stage) {
  for (std::size_t i = 0; piece.narrow() && i < own_.size(); ++i) {
    stage.before.push_back(sums_.make({.from = {own_[i] + piece.range.begin},
                                       .to = own_node(i, piece, piece.range.begin),
                                       .to_type = piece.type,
                                       .count = size(piece.range)}));
  }
  for (int rank = 0; rank < world_size(); ++rank) {
    if (rank == options_.rank) continue;
    const Bucket theirs = part(piece, rank);
    for (std::size_t i = 0; i < own_.size() && size(theirs) > 0; ++i) {
      stage.sends.push_back({.peer = rank,
                             .data = own_node(i, piece, theirs.begin),
                             .num_bytes = piece.bytes(size(theirs))});
    }
  }
  const Bucket mine = part(piece, options_.rank);
  if (size(mine) == 0) return place;
  std::vector<const void*> from;
  for (const Source& source : sources_) {
    if (source.rank == options_.rank) {
      from.push_back(own_node(source.index, piece, mine.begin));
      continue;
    }
    from.push_back(place);
    stage.receives.push_back(
        {.peer = source.rank, .data = place, .num_bytes = piece.bytes(size(mine))});
    place += piece.bytes(whole_lines(mine));
  }
  stage.sums.push_back(sums_.make({.from = std::move(from),
                                   .from_type = piece.type,
                                   .merges = merges_,
                                   .to = finished(piece, mine.begin),
                                   .to_type = gathers(piece) ? piece.type : DType::f32,
                                   .count = size(mine)}));
  return place;
}

void DeviceReduction::Impl::plan_gather(const Piece& piece, Stage& stage) {
  const Bucket mine = part(piece, options_.rank);
  for (int rank = 0; rank < world_size(); ++rank) {
    if (rank == options_.rank) continue;
    const Bucket theirs = part(piece, rank);
    stage.part_sends.push_back(
        {.peer = rank, .data = finished(piece, mine.begin), .num_bytes = piece.bytes(size(mine))});
    stage.part_receives.push_back({.peer = rank,
                                   .data = finished(piece, theirs.begin),
                                   .num_bytes = piece.bytes(size(theirs))});
  }
  if (!piece.narrow()) return;
  stage.after.push_back(sums_.make({.from = {finished(piece, piece.range.begin)},
                                    .from_type = piece.type,
                                    .to = options_.reduced + piece.range.begin,
                                    .count = size(piece.range)}));
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
  for (const DeviceSum& sum : stage.sums) sum.run(*queue_);
  options_.comm->exchange(stage.part_sends, stage.part_receives, queue_->handle());
  for (const DeviceSum& sum : stage.after) sum.run(*queue_);
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
  for (const Bucket& bucket : i.options_.buckets) {
    const Bucket mine = i.options_.shards->slice(bucket, i.options_.rank);
    for (int rank = 0; rank < i.world_size(); ++rank) {
      if (rank == i.options_.rank) continue;
      const Bucket theirs = i.options_.shards->slice(bucket, rank);
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
