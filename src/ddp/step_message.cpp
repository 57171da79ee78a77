// SPDX-License-Identifier: Apache-2.0
#include "ddp/step_message.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/error.h"
#include "base/kill_point.h"
#include "base/text.h"

namespace dlt::ddp {

StepMessage::StepMessage(int rank, const LeafDivision& division, int num_sums)
    : rank_(rank), division_(division), num_sums_(static_cast<std::size_t>(num_sums)) {
  static_assert(sizeof(Header) % sizeof(double) == 0);
  const int num_leaves = division_.num_leaves();
  stride_ = kHeader_doubles + static_cast<std::size_t>(division_.most_leaves()) * num_sums_;
  send_.resize(stride_);
  all_.resize(stride_ * static_cast<std::size_t>(division_.world_size()));
  leaves_.resize(static_cast<std::size_t>(num_leaves) * num_sums_);
  result_.sums.resize(num_sums_);
  result_.rank_compute_s.resize(static_cast<std::size_t>(division_.world_size()));
  result_.rank_sums.resize(num_sums_ * static_cast<std::size_t>(division_.world_size()));
  std::vector<TreeNode> nodes;
  for (int leaf = 0; leaf < num_leaves; ++leaf) nodes.push_back({0, leaf});
  additions_ = merge(nodes, num_leaves).additions;
}

void StepMessage::clear() { std::fill(send_.begin(), send_.end(), 0.0); }

std::span<double> StepMessage::sums(int leaf) {
  return std::span(send_).subspan(kHeader_doubles + static_cast<std::size_t>(leaf) * num_sums_,
                                  num_sums_);
}

void StepMessage::set_control(const Stamp& stamp, const ControlWord& control) {
  const Header header{stamp, control};
  std::memcpy(send_.data(), &header, sizeof header);
}

StepMessage::Header StepMessage::header_of(const double* message) {
  static_assert(std::is_trivially_copyable_v<Header>);
  Header header;
  std::memcpy(static_cast<void*>(&header), message, sizeof header);
  return header;
}

std::int64_t StepMessage::num_bytes() const {
  return static_cast<std::int64_t>(stride_ * sizeof(double));
}

void StepMessage::exchange(HostBoard& board, const HostWait& wait) {
  DLT_KILL_POINT(control_before_exchange);
  board.allgather(header_of(send_.data()).stamp, send_.data(), all_.data(), wait);
  DLT_KILL_POINT(control_after_exchange);
  combine_control();
  combine_sums();
}

void StepMessage::exchange(comm::Communicator* comm) {
  if (comm != nullptr) {
    DLT_KILL_POINT(control_before_exchange);
    comm->allgather(send_.data(), all_.data(), num_bytes());
    DLT_KILL_POINT(control_after_exchange);
  } else {
    std::copy(send_.begin(), send_.end(), all_.begin());
  }
  combine_control();
  combine_sums();
}

void StepMessage::combine_control() {
  result_.control = {};
  result_.error_rank = -1;
  result_.replicas_differ = false;
  const Header mine = header_of(send_.data());
  for (int r = 0; r < division_.world_size(); ++r) {
    const Header header = header_of(all_.data() + static_cast<std::size_t>(r) * stride_);
    require_expected(header.stamp, r, mine.stamp, rank_);
    if (header.control.weights_hash != mine.control.weights_hash) result_.replicas_differ = true;
    result_.control.stop = std::max(result_.control.stop, header.control.stop);
    result_.control.error = std::max(result_.control.error, header.control.error);
    result_.rank_compute_s[static_cast<std::size_t>(r)] = header.control.compute_s;
    result_.control.compute_s = std::max(result_.control.compute_s, header.control.compute_s);
    result_.control.nonfinite = std::max(result_.control.nonfinite, header.control.nonfinite);
    result_.control.save.combine(header.control.save);
    if (header.control.error != 0 && result_.error_rank < 0) result_.error_rank = r;
  }
}

void StepMessage::combine_sums() {
  for (int r = 0; r < division_.world_size(); ++r) {
    const LeafRange range = division_.of(r);
    const double* from = all_.data() + static_cast<std::size_t>(r) * stride_ + kHeader_doubles;
    std::copy_n(from, static_cast<std::size_t>(range.size()) * num_sums_,
                leaves_.data() + static_cast<std::size_t>(range.begin) * num_sums_);
    double* sums = result_.rank_sums.data() + static_cast<std::size_t>(r) * num_sums_;
    std::fill_n(sums, num_sums_, 0.0);
    for (std::size_t i = 0; i < static_cast<std::size_t>(range.size()) * num_sums_; ++i) {
      sums[i % num_sums_] += from[i];
    }
  }
  for (const Addition& addition : additions_) {
    double* dst = leaves_.data() + static_cast<std::size_t>(addition.dst) * num_sums_;
    const double* src = leaves_.data() + static_cast<std::size_t>(addition.src) * num_sums_;
    for (std::size_t i = 0; i < num_sums_; ++i) dst[i] += src[i];
  }
  std::copy_n(leaves_.data(), num_sums_, result_.sums.begin());
}

}  // namespace dlt::ddp
