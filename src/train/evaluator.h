// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "train/trainer.h"

namespace dlt::train {

/// Runs a forward-only program over a whole data set, chunk by chunk, spread over ranks and
/// workers. A chunk has the same size whatever the rank count and sums are added in chunk order, so
/// the result's bits depend on neither ranks nor threads.
class Evaluator {
 public:
  /// parts.program is the evaluation (or prediction) program; chunk_samples its batch size.
  Evaluator(const TrainerParts& parts, const data::Dataset& dataset, const float* params,
            std::int64_t chunk_samples);
  ~Evaluator();

  /// Loss and metrics over all rows. Collective. errors  a rank's failure is thrown on all ranks
  /// steps_done: what it tells the supervisor.
  [[nodiscard]] MetricValues evaluate(std::int64_t steps_done = 0);
  /// The metrics of the last evaluation that are tables.
  [[nodiscard]] const MetricTables& tables() const { return tables_; }

  /// Predictions of all rows in input order, [num_rows, width], on rank 0 (empty on the others).
  /// Collective.
  [[nodiscard]] std::vector<float> predict(std::int64_t width);

 private:
  struct Range {
    std::int64_t begin = 0, end = 0;  // chunks
  };
  [[nodiscard]] Range rank_chunks(int rank) const;
  [[nodiscard]] Range worker_chunks(int worker) const;
  /// Calls use(chunk, batch, runner, sums) for each of this rank's chunks, then agrees on failures.
  using Use = std::function<void(std::int64_t chunk, const data::LeafBatch& batch,
                                 LeafRunner& runner, std::span<const double> sums)>;
  void run_chunks(std::int64_t steps_done, const Use& use);

  TrainerParts parts_;
  const data::Dataset* dataset_;
  data::Sampler sampler_;
  SumLayout sums_;
  MetricTables tables_;
  std::int64_t num_chunks_;
  std::vector<std::unique_ptr<LeafRunner>> runners_;
};

}  // namespace dlt::train
