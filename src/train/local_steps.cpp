// SPDX-License-Identifier: Apache-2.0
#include "train/local_steps.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace dlt::train {
namespace {

/// Elements that are averaged at once: small enough for what is received to stay in the cache.
constexpr std::int64_t kPiece = 1 << 18;

std::vector<ddp::Bucket> cut_in_pieces(std::int64_t total) {
  std::vector<ddp::Bucket> pieces;
  for (std::int64_t at = 0; at < total; at += kPiece) {
    pieces.push_back({at, std::min(at + kPiece, total)});
  }
  return pieces;
}

/// One leaf a rank.
ddp::BucketReductionOptions sum_options(int rank, int world_size,
                                        const std::vector<ddp::Bucket>& pieces, float* data) {
  return {.rank = rank,
          .division = ddp::LeafDivision(world_size, world_size),
          .buckets = pieces,
          .nodes = {data},
          .reduced = data};
}

}  // namespace

LocalSteps::LocalSteps(comm::Communicator& comm, ModelState& state)
    : total_(state.layout().total),
      pieces_(cut_in_pieces(total_)),
      weights_(static_cast<std::size_t>(comm.world_size()), 0.0) {
  add_part(comm, state.params(), true);
  if (state.average() != nullptr) add_part(comm, state.average(), true);
  for (float* values : state.states()) add_part(comm, values, false);
}

void LocalSteps::add_part(comm::Communicator& comm, float* data, bool by_changes) {
  Part part{.data = data};
  if (by_changes) {
    part.reference = tensor::Storage::allocate(total_ * ddp::kElement_bytes);
    std::memcpy(part.reference.data(), data,
                static_cast<std::size_t>(total_ * ddp::kElement_bytes));
  }
  part.sum = ddp::make_bucket_reduction(ddp::Reduction::exact,
                                        sum_options(comm.rank(), comm.world_size(), pieces_, data));
  parts_.push_back(std::move(part));
}

void LocalSteps::note(std::span<const double> weights) {
  for (std::size_t r = 0; r < weights_.size(); ++r) weights_[r] += weights[r];
}

void LocalSteps::synchronise(comm::Communicator& comm) {
  if (synchronised()) return;  // on all ranks alike
  const double sum = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  ++num_means_;
  const auto share = static_cast<float>(weights_[static_cast<std::size_t>(comm.rank())] / sum);
  for (Part& part : parts_) average(comm, part, share);
  std::fill(weights_.begin(), weights_.end(), 0.0);
}

bool LocalSteps::synchronised() const {
  return std::all_of(weights_.begin(), weights_.end(), [](double weight) { return weight == 0; });
}

void LocalSteps::average(comm::Communicator& comm, Part& part, float share) {
  auto* reference = reinterpret_cast<float*>(part.reference.data());
  const bool by_changes = part.reference.size_bytes() > 0;
  part.sum->begin_step(num_means_);
  for (std::size_t p = 0; p < pieces_.size(); ++p) {
    const auto [begin, end] = pieces_[p];
    for (std::int64_t i = begin; i < end; ++i) {
      part.data[i] = share * (by_changes ? part.data[i] - reference[i] : part.data[i]);
    }
    part.sum->reduce(comm, p);
    for (std::int64_t i = begin; by_changes && i < end; ++i) {
      reference[i] += part.data[i];
      part.data[i] = reference[i];
    }
  }
}

std::int64_t LocalSteps::buffer_bytes() const {
  std::int64_t bytes = 0;
  for (const Part& part : parts_) bytes += part.reference.size_bytes() + part.sum->buffer_bytes();
  return bytes;
}

ddp::Cost LocalSteps::cost(const Shape& shape) {
  const ddp::Cost one = ddp::cost_of_exact_reduction(
      sum_options(shape.rank, shape.world_size, cut_in_pieces(shape.total), nullptr));
  const std::int64_t by_changes = 1 + (shape.average ? 1 : 0);
  const std::int64_t parts = by_changes + shape.num_states;
  return {.buffer_bytes = by_changes * shape.total * ddp::kElement_bytes + parts * one.buffer_bytes,
          .sent_bytes = parts * one.sent_bytes,
          .num_rounds = parts * one.num_rounds};
}

std::int64_t LocalSteps::memory_bytes(const Shape& shape) {
  constexpr std::int64_t kBy_changes = 3 + 4;  // buffers read or written: before the sum, behind it
  constexpr std::int64_t kWhole = 2;
  const std::int64_t buffers =
      kBy_changes * (1 + (shape.average ? 1 : 0)) + kWhole * shape.num_states;
  return buffers * shape.total * ddp::kElement_bytes;
}

}  // namespace dlt::train
