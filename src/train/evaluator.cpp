// SPDX-License-Identifier: Apache-2.0
#include "train/evaluator.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/text.h"
#include "ddp/replica.h"

namespace dlt::train {
namespace {

std::int64_t share_begin(std::int64_t n, std::int64_t parts, std::int64_t index) {
  return index * n / parts;
}

}  // namespace

Evaluator::Evaluator(const TrainerParts& parts, const data::Dataset& dataset, const float* params,
                     std::int64_t chunk_samples)
    : parts_(parts),
      dataset_(&dataset),
      sampler_({.num_rows = dataset.num_rows(),
                .global_batch_size = chunk_samples,
                .num_leaves = 1,
                .shuffle = false,
                .seed = 0}),
      sums_{.metrics = &parts.config.metrics,
            .labels = parts.config.target.labels(),
            .positions = parts.config.positions,
            .tables = true},
      num_chunks_(sampler_.steps_per_epoch()) {
  runners_.resize(static_cast<std::size_t>(parts_.num_leaf_workers()));
  parts_.pool.run([&](int worker) {
    if (worker >= parts_.num_leaf_workers()) return;
    parts_.leaf_device().enter_thread();
    runners_[static_cast<std::size_t>(worker)] = std::make_unique<LeafRunner>(
        parts_.program, parts_.leaf_device(), params, sums_, parts_.config.seed);
    const Range chunks = worker_chunks(worker);
    if (chunks.end - chunks.begin > 1) runners_[static_cast<std::size_t>(worker)]->keep_copies();
  });
}

Evaluator::~Evaluator() = default;

Evaluator::Range Evaluator::rank_chunks(int rank) const {
  const std::int64_t ranks = parts_.comm.world_size();
  return {share_begin(num_chunks_, ranks, rank), share_begin(num_chunks_, ranks, rank + 1)};
}

Evaluator::Range Evaluator::worker_chunks(int worker) const {
  const Range mine = rank_chunks(parts_.comm.rank());
  const std::int64_t n = mine.end - mine.begin;
  const std::int64_t workers = parts_.num_leaf_workers();
  return {mine.begin + share_begin(n, workers, worker),
          mine.begin + share_begin(n, workers, worker + 1)};
}

void Evaluator::run_chunks(std::int64_t steps_done, const Use& use) {
  std::vector<std::optional<Error>> failures(runners_.size());
  parts_.pool.run([&](int worker) {
    if (worker >= parts_.num_leaf_workers()) return;
    const Range range = worker_chunks(worker);
    if (range.begin == range.end) return;
    LeafRunner& runner = *runners_[static_cast<std::size_t>(worker)];
    runner.params_changed();
    try {
      data::Loader loader(*dataset_, sampler_,
                          {.first_leaf = 0,
                           .num_leaves = 1,
                           .first_step = range.begin,
                           .end_step = range.end,
                           .num_threads = static_cast<int>(parts_.config.data_workers.value_or(-1)),
                           .bad = parts_.bad});
      for (std::int64_t chunk = range.begin; chunk < range.end; ++chunk) {
        parts_.pulse.mark({.phase = observe::Phase::eval, .step = steps_done, .leaf = worker});
        const data::LeafBatch& batch = loader.next();
        use(chunk, batch, runner, runner.run(batch, 0, nullptr, nullptr));
      }
    } catch (const Error& error) {
      failures[static_cast<std::size_t>(worker)] = error;
    }
  });
  const auto first =
      std::find_if(failures.begin(), failures.end(), [](const auto& f) { return f.has_value(); });
  ddp::agree_on_failure(parts_.comm, parts_.host, first == failures.end() ? std::nullopt : *first);
}

MetricValues Evaluator::evaluate(std::int64_t steps_done) {
  const auto width = static_cast<std::size_t>(sums_.size());
  const std::int64_t ranks = parts_.comm.world_size();
  // Every rank sends the same number of rows: room for the largest share of chunks.
  const std::int64_t share = (num_chunks_ + ranks - 1) / ranks;
  std::vector<double> mine(static_cast<std::size_t>(share) * width, 0.0);
  const std::int64_t first = rank_chunks(parts_.comm.rank()).begin;
  run_chunks(steps_done, [&](std::int64_t chunk, const data::LeafBatch&, LeafRunner&,
                             std::span<const double> sums) {
    std::copy(sums.begin(), sums.end(),
              mine.begin() + (chunk - first) * static_cast<std::int64_t>(width));
  });
  std::vector<double> all(mine.size() * static_cast<std::size_t>(ranks));
  parts_.comm.allgather(mine.data(), all.data(),
                        static_cast<std::int64_t>(mine.size() * sizeof(double)));

  std::vector<double> totals(width, 0.0);
  for (int rank = 0; rank < ranks; ++rank) {
    const Range range = rank_chunks(rank);
    const double* rows = all.data() + static_cast<std::size_t>(rank) * mine.size();
    for (std::int64_t i = 0; i < (range.end - range.begin) * static_cast<std::int64_t>(width);
         ++i) {
      totals[static_cast<std::size_t>(i) % width] += rows[i];
    }
  }
  tables_ = sums_.table_values(totals);
  return sums_.values(totals);
}

std::vector<float> Evaluator::predict(std::int64_t width) {
  const std::int64_t chunk_samples = sampler_.leaf_capacity();
  const auto first_row = [&](std::int64_t chunk) {
    return std::min(chunk * chunk_samples, dataset_->num_rows());
  };
  const auto row_bytes = width * static_cast<std::int64_t>(sizeof(float));
  const Range mine = rank_chunks(parts_.comm.rank());
  const bool root = parts_.comm.rank() == 0;
  const std::int64_t base = first_row(mine.begin);
  const std::int64_t rows = root ? dataset_->num_rows() : first_row(mine.end) - base;
  std::vector<float> out(static_cast<std::size_t>(rows * width));
  run_chunks(0, [&](std::int64_t chunk, const data::LeafBatch& batch, LeafRunner& runner,
                    std::span<const double>) {
    std::memcpy(out.data() + (first_row(chunk) - base) * width, runner.prediction().data,
                static_cast<std::size_t>(batch.count * row_bytes));
  });
  std::vector<comm::Send> sends;
  std::vector<comm::Receive> receives;
  if (!root) {
    sends.push_back({.peer = 0, .data = out.data(), .num_bytes = rows * row_bytes});
  } else {
    for (int rank = 1; rank < parts_.comm.world_size(); ++rank) {
      const Range theirs = rank_chunks(rank);
      const std::int64_t begin = first_row(theirs.begin);
      receives.push_back({.peer = rank,
                          .data = out.data() + begin * width,
                          .num_bytes = (first_row(theirs.end) - begin) * row_bytes});
    }
  }
  parts_.comm.exchange(sends, receives);
  if (!root) out.clear();
  return out;
}

}  // namespace dlt::train
