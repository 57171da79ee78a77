// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "autodiff/executor.h"
#include "data/loader.h"
#include "nn/loss.h"
#include "observe/events.h"
#include "train/carried_state.h"
#include "train/metrics.h"

namespace dlt::train {

class LeafDevice;

using MetricValues = std::vector<std::pair<std::string, double>>;
using MetricTables = std::vector<std::pair<std::string, observe::Table>>;

/// Sums of one leaf, in the order [loss, weight, metric sums..., hash of the samples].
struct SumLayout {
  const std::vector<std::unique_ptr<Metric>>* metrics = nullptr;
  bool labels = false;
  std::int64_t positions = 1;  // of a sample
  bool tables = false;         // with the metrics that are tables
  bool hashes = false;         // with a hash of 32 bits, of which 2^20 can be added without error
  [[nodiscard]] bool has(const Metric& metric) const { return tables || metric.num_columns() == 0; }
  [[nodiscard]] int size() const;
  /// Weighted mean of the loss.
  [[nodiscard]] double loss(std::span<const double> sums) const { return sums[0] / sums[1]; }
  /// Value of each metric that is a number.
  [[nodiscard]] MetricValues values(std::span<const double> sums) const;
  /// Each metric that is a table.
  [[nodiscard]] MetricTables table_values(std::span<const double> sums) const;

 private:
  /// use(metric, its sums)
  template <typename F>
  void for_metrics(const double* sums, F use) const;
};

/// Weighted mean of the loss in sums of any layout; 0 without weight.
[[nodiscard]] inline double mean_loss(std::span<const double> sums) {
  return sums[1] > 0 ? sums[0] / sums[1] : 0;
}

/// Whose parameters and gradients are, where leaves run on a device with memory of its own.
enum class Residence : std::uint8_t { host, device };
struct LeafResidence {
  Residence state = Residence::host;
  /// How to wait for the device, where it may wait for others; empty: without a deadline.
  std::function<void(const tensor::Event&)> wait = {};
};

/// Runs leaves of one program for one worker thread: binds the leaf, executes, adds up loss and
/// metrics. On a device with memory of its own up to two leaves are under way at once, and samples
/// and results travel; so do parameters and gradients, unless they are the device's: the sink then
/// hears of gradients that are on their way in the queue.
class LeafRunner {
 public:
  LeafRunner(const autodiff::Program& program, tensor::Backend& backend, const float* params,
             SumLayout sums, std::uint64_t seed, const LeafResidence& residence = {});
  ~LeafRunner();
  /// That kernels go to; null in host memory.
  [[nodiscard]] tensor::Queue* queue();

  /// For several leaves with the same parameters: what kernels make of these is kept.
  void keep_copies() { executor_.keep_copies(); }
  /// The parameters have changed since the last leaf.
  void params_changed();
  /// What the weights of the next leaves' samples are multiplied by where gradients come from, on a
  /// device; loss and metrics know nothing of it.
  void scale_weights(double scale);
  /// Asked for parameters that are still on their way.
  void bind_gate(autodiff::ParamGate* gate);
  void bind_watch(autodiff::CallWatch* watch) { executor_.bind_watch(watch); }
  void bind_timer(autodiff::CallTimer* timer) { executor_.bind_timer(timer); }
  /// gradients and sink: null for evaluation. Returns the leaf's sums, valid until the next run.
  std::span<const double> run(const data::LeafBatch& batch, std::uint64_t epoch, float* gradients,
                              autodiff::GradientSink* sink);
  /// The same in two halves, so that a device need not wait for the host between two leaves:
  /// finish() belongs to the oldest leaf that was submitted and is given what its submit() was. In
  /// host memory the first half does it all, and one leaf is under way.
  void submit(const data::LeafBatch& batch, std::uint64_t epoch, float* gradients,
              autodiff::GradientSink* sink);
  std::span<const double> finish(float* gradients, autodiff::GradientSink* sink);
  /// submit() on a device, and then what `tail` gives to the queue: captured, and replayed in later
  /// steps, in which the sink hears nothing and tail is not called. key: as LeafDevice's; with a
  /// key everything that is given must be the same each time.
  struct Recorded {
    std::size_t key = 0;
    std::function<void()> tail;
  };
  void submit_recorded(const data::LeafBatch& batch, std::uint64_t epoch, float* gradients,
                       autodiff::GradientSink* sink, const Recorded& recorded);
  /// Leaves that may be under way at once.
  [[nodiscard]] int depth() const { return device_ != nullptr ? 2 : 1; }
  /// The same in pieces, for programs with places where all leaves wait for each other
  /// (Program::num_segments): begin, then each segment, then finish.
  void begin(const data::LeafBatch& batch, float* gradients);
  void run_segment(int segment, const data::LeafBatch& batch, std::uint64_t epoch,
                   autodiff::GradientSink* sink);
  /// This leaf's part behind a segment, to be replaced by the sum over all leaves before the next
  /// segment.
  [[nodiscard]] float* sync_values(int segment);
  /// Sets the states before the next run: those of `count` rows of the global batch (null: zeros).
  void carry_in(const CarriedState* state, std::int64_t first_row, std::int64_t count);
  /// Puts the states behind the last run there.
  void carry_out(CarriedState& state, std::int64_t first_row, std::int64_t count) const;

  /// Output "prediction" of the last run.
  [[nodiscard]] tensor::View prediction() const { return output("prediction"); }

 private:
  struct CarriedInput {
    std::string name;
    std::vector<float> values;  // [samples of the program, size]
  };
  struct Relay;
  void bind_carried(const autodiff::Program& program);
  /// Of the last leaf that is finished, in host memory.
  [[nodiscard]] tensor::View output(std::string_view name) const;
  void add_up(const data::LeafBatch& batch);
  [[nodiscard]] double samples_hash(const data::LeafBatch& batch) const;

  std::unique_ptr<LeafDevice> device_;  // null in host memory
  autodiff::Executor executor_;
  SumLayout layout_;
  std::uint64_t seed_;
  bool has_loss_, has_mask_;
  std::int64_t input_row_bytes_ = 0, target_row_bytes_ = 0;
  std::vector<double> sums_;
  std::vector<CarriedInput> carried_;
  const data::LeafBatch* batch_ = nullptr;  // of the leaf under way, in host memory
  int num_segments_ = 1;
  bool reads_predictions_ = false;
  std::int64_t prediction_width_ = 0;  // numbers of a position
  tensor::RunContext context_;         // of the leaf that was begun last, on a device
};

}  // namespace dlt::train
