// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "ddp/host_board.h"
#include "ddp/leaf_tree.h"
#include "ddp/reducer.h"
#include "ddp/stamp.h"

namespace dlt::ddp {

/// The message behind the last bucket: every rank's control word and the sums of its leaves, which
/// are added along the leaf tree. Allocates in the constructor only.
class StepMessage {
 public:
  StepMessage(int rank, const LeafDivision& division, int num_sums);
  /// All sums of this rank's leaves to zero.
  void clear();
  /// Sums of a leaf of this rank; leaf counts from the rank's first.
  [[nodiscard]] std::span<double> sums(int leaf);
  void set_control(const Stamp& stamp, const ControlWord& control);
  /// Bytes of one rank's message.
  [[nodiscard]] std::int64_t num_bytes() const;
  /// Collective; comm may be null with one rank.
  /// errors  Error(Exit::internal) naming both sides if the ranks are at different steps
  void exchange(comm::Communicator* comm);
  /// The same among the ranks of a host, if all ranks are on it. errors  as HostBoard's, too
  void exchange(HostBoard& board, const HostWait& wait);
  [[nodiscard]] const StepResult& result() const { return result_; }

 private:
  struct Header {
    Stamp stamp;
    ControlWord control;
  };
  static constexpr std::size_t kHeader_doubles = sizeof(Header) / sizeof(double);
  [[nodiscard]] static Header header_of(const double* message);
  void combine_control();
  void combine_sums();

  int rank_;
  LeafDivision division_;
  std::size_t num_sums_;
  std::size_t stride_;  // doubles of one rank's message
  std::vector<double> send_;
  std::vector<double> all_;
  std::vector<double> leaves_;  // num_leaves rows of num_sums
  std::vector<Addition> additions_;
  StepResult result_;
};

}  // namespace dlt::ddp
