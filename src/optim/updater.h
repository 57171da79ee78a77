// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "optim/averaging.h"
#include "optim/optimizer.h"
#include "optim/shard.h"

namespace dlt::optim {

struct UpdaterOptions {
  std::vector<std::string> excluded;  // parameters that are no business of the optimiser
  double clip_value = std::numeric_limits<double>::infinity();
  std::optional<Shard> shard = {};  // what this rank updates; none: all
  /// With a shard: adds up numbers over all ranks, of which only one gives each; called by the
  /// thread that calls the updater.
  std::function<void(std::span<double>)> add_up = {};
  /// Where the buffers are a device's: it, and what takes the work, all from one thread.
  tensor::Backend* device = nullptr;
  tensor::Queue* queue = nullptr;
};

/// One step's update of the flat buffers.
struct StepUpdate {
  float* params = nullptr;
  const float* grads = nullptr;
  const std::vector<float*>* states = nullptr;
  float* average = nullptr;   // null: none is kept
  double average_weight = 0;  // of the parameters in it, 0: not in this step
  std::int64_t step = 0;      // counted from 0
  double learning_rate = 0;
  double grad_scale = 1;
  std::int64_t begin = 0;  // elements to update, multiples of 16; end -1: all
  std::int64_t end = -1;
  ScalarTable* scalars = nullptr;  // as UpdateArgs'
};

/// Applies an optimiser with its groups to the flat buffers, on all workers of a pool, or on a
/// device with memory of its own, where update() does not wait for it. Norms are sums of blocks
/// that are cut by the layout alone, added in the layout's order, so that no bit depends on the
/// number of workers, nor on which rank's shard a block is in. Allocates in the constructor only.
class Updater {
 public:
  /// All arguments but backend and options must outlive it; layout and groups are read here.
  Updater(const Optimizer& optimizer, const tensor::FlatLayout& layout,
          const tensor::Backend& backend, ThreadPool& pool, const UpdaterOptions& options);

  /// Euclidean norm of the gradient of the parameters that are updated, in any shard. Collective
  /// with a shard.
  [[nodiscard]] double gradient_norm(const float* grads);
  /// Updates what of [begin, end) is in the shard; all at once if the optimiser adapts(), which
  /// makes it collective with a shard.
  void update(const StepUpdate& update);
  /// On a device: what the norm is made of, f64 [num_squares()] in its memory, is given to the
  /// queue.
  void give_squares(const float* grads);
  [[nodiscard]] const double* device_squares() const {
    return reinterpret_cast<const double*>(device_sums_.data());
  }
  [[nodiscard]] std::int64_t num_squares() const {
    return static_cast<std::int64_t>(own_blocks_.size());
  }
  /// Kernels that one update() gives to a device, of an optimiser that does not adapt and without
  /// an average.
  [[nodiscard]] std::size_t num_kernels() const { return plan_.ranges.size(); }

 private:
  struct Block {
    std::int64_t begin = 0, end = 0;
    std::int64_t state_shift = 0;  // of those in the shard
    std::size_t part = 0;
  };
  void find_own_blocks();
  void make_device_sums(tensor::Backend& device);
  [[nodiscard]] double* sums_of(std::size_t block);
  void fetch_sums();
  void add_up_sums();
  void run(const std::function<void(int)>& task);
  [[nodiscard]] UpdateArgs args_of(std::size_t range) const;
  void square_blocks(int worker);
  void square_blocks_on_device();
  void measure_blocks(int worker);
  void set_trust_ratios();
  void update_share(int worker);
  void update_range(const Shard::Range& range);
  void update_chunk(std::int64_t begin, std::int64_t end, std::int64_t state_shift);

  const Optimizer* optimizer_;
  ThreadPool* pool_;
  std::int64_t total_;
  int num_workers_;  // that share the work
  double clip_value_;
  Shard shard_;
  std::function<void(std::span<double>)> exchange_;  // null: the shard is all
  UpdatePlan plan_;
  std::vector<Block> blocks_;
  std::vector<std::size_t> own_blocks_;         // of blocks_, those in the shard
  std::vector<double> sums_;                    // two of each block
  tensor::Queue* queue_;                        // null in host memory
  tensor::Storage device_sums_, fetched_sums_;  // the same on the device, and in staging memory
  std::unique_ptr<tensor::Kernel> square_all_;  // of a device: all own blocks at once
  tensor::Storage block_table_;                 // i64 [own blocks, 2]: begin and end
  std::vector<double> trust_ratios_;            // of each range
  std::unique_ptr<tensor::Kernel> sum_of_squares_;
  AverageKernel average_;
  std::function<void(int)> square_task_, measure_task_, update_task_;
  StepUpdate step_;
};

}  // namespace dlt::optim
