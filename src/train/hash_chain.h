// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "tensor/flat_layout.h"
#include "train/hash_log.h"
#include "train/trainer.h"

namespace dlt::train {

/// Hashes of the parameters (or gradients) of a flat buffer, by all workers of a pool.
class FlatHasher {
 public:
  /// Both must outlive this.
  FlatHasher(const tensor::FlatLayout& layout, ThreadPool& pool);
  /// One of each parameter, in the order of the layout. Valid until the next call.
  [[nodiscard]] const std::vector<std::uint64_t>& run(const float* flat);
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  struct Piece {
    std::size_t entry = 0;
    std::int64_t begin = 0, numel = 0;
    std::uint64_t hash = 0;
  };
  const tensor::FlatLayout* layout_;
  ThreadPool* pool_;
  std::vector<Piece> pieces_;
  std::vector<std::uint64_t> hashes_;
};

/// One hash over those of all parameters.
[[nodiscard]] std::uint64_t combined(const std::vector<std::uint64_t>& hashes);

/// What a step's report tells: the hashes of samples and loss.
[[nodiscard]] StepHashes hash_step(const StepReport& report, const SumLayout& sums);

/// Writes RUN/hashes.jsonl, a line a step. A file that is there is gone on with behind the step
/// that the run stands at: what it says of later ones is cut off.
class HashChain {
 public:
  /// errors  Error(Exit::io) naming the file
  HashChain(std::string path, const std::vector<std::string>& parameters, std::int64_t steps_done);
  /// The run goes back. errors  as above
  void rewind(std::int64_t steps_done);
  /// False once if the line could not be written; from then on nothing is.
  bool append(const StepHashes& hashes);

 private:
  void begin(std::int64_t steps_done);
  std::string path_, header_;
  std::uint64_t chain_ = 0;
  std::ofstream out_;
  bool broken_ = false;
};

}  // namespace dlt::train
