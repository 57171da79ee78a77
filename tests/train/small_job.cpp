// SPDX-License-Identifier: Apache-2.0
#include "train/small_job.h"

#include <atomic>
#include <fstream>

#include "base/rng.h"
#include "base/text.h"
#include "data/writer.h"
#include "ops/ops.h"
#include "support/run_ranks.h"

namespace dlt::train_test {
namespace {

constexpr std::int64_t kFeatures = 6;

void write_split(data::Hdf5Writer& writer, const std::string& group, std::int64_t rows,
                 std::uint64_t epoch, const EditRows& edit = {}) {
  std::vector<float> x(static_cast<std::size_t>(rows * kFeatures));
  std::vector<std::int32_t> y(static_cast<std::size_t>(rows));
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto sample = static_cast<std::uint64_t>(row);
    const auto label = static_cast<std::int32_t>(row % 3);
    y[static_cast<std::size_t>(row)] = label;
    for (std::int64_t j = 0; j < kFeatures; ++j) {
      const float noise = rng::normal({.seed = 5, .op = 1, .epoch = epoch, .sample = sample},
                                      static_cast<std::uint64_t>(j));
      x[static_cast<std::size_t>(row * kFeatures + j)] =
          (j % 3 == label ? 1.0F : 0.0F) + 0.3F * noise;
    }
  }
  if (edit) edit(x, y);
  writer.write(
      {.name = group + "/x", .dtype = DType::f32, .num_rows = rows, .row_shape = {kFeatures}},
      x.data());
  writer.write({.name = group + "/y", .dtype = DType::i32, .num_rows = rows}, y.data());
}

class TickingClock final : public Clock {
 public:
  explicit TickingClock(double tick_s) : tick_s_(tick_s) {}
  [[nodiscard]] double monotonic_s() const override {
    return static_cast<double>(++ticks_) * tick_s_;
  }
  [[nodiscard]] double wall_s() const override { return 1700000000; }
  void sleep_s(double /*seconds*/) override {}

 private:
  double tick_s_;
  mutable std::atomic<std::int64_t> ticks_{0};
};

}  // namespace

std::unique_ptr<Clock> make_ticking_clock(double tick_s) {
  return std::make_unique<TickingClock>(tick_s);
}

JobFiles write_small_job(const TempFolder& folder, std::int64_t rows, const EditRows& edit) {
  data::Hdf5Writer writer((folder / "data.h5"));
  write_split(writer, "/train", rows, 0, edit);
  write_split(writer, "/test", rows, 1);
  writer.commit();
  JobFiles files{.config = (folder / "job.yaml"), .run_dir = (folder / "run")};
  std::ofstream(files.config) << "run: {name: small, dir: " << files.run_dir << ", seed: 3}\n"
                              << "model:\n  input: [6]\n  layers:\n"
                              << "    - dense: {units: 9, activation: tanh}\n"
                              << "    - dropout: {rate: 0.25}\n"
                              << "    - dense: {units: 3}\n"
                              << "loss: cross_entropy\nmetrics: [accuracy]\n"
                              << "data:\n"
                              << "  train: {file: " << (folder / "data.h5")
                              << ", inputs: /train/x, targets: /train/y}\n"
                              << "  eval: {file: " << (folder / "data.h5")
                              << ", inputs: /test/x, targets: /test/y}\n"
                              << "  global_batch_size: 10\n"
                              << "train: {epochs: 3, leaves: 6, threads: 1}\n"
                              << "optimizer: {name: adam, learning_rate: 0.02}\n"
                              << "checkpoint: {every_steps: 4, keep: 2}\n"
                              << "log: {every_steps: 3, tensorboard: false}\n";
  return files;
}

train::RunSummary run_job(const JobFiles& files, const JobRun& run) {
  train::RunSummary summary;
  // What rank 0 decides to remove must not be gone while another rank still looks: each rank
  // prepares first, as the ranks of mpirun do, and only run() is collective.
  std::atomic<bool> stop{run.stop_wanted};
  std::vector<int> host_of = run.host_of;
  host_of.resize(static_cast<std::size_t>(run.ranks), 0);
  run_ranks(host_of, [&](comm::Communicator& comm) {
    const autodiff::OpTable table = ops::make_op_table();
    const auto backend = tensor::make_cpu_backend();
    const std::unique_ptr<Fs> fs = run.fs ? run.fs(comm.rank()) : std::make_unique<SystemFs>();
    const std::unique_ptr<Clock> clock =
        run.clock ? run.clock(comm.rank()) : std::make_unique<SystemClock>();
    train::TrainOptions options{.config_path = files.config,
                                .overrides = run.overrides,
                                .resume = run.resume,
                                .progress = observe::ProgressStyle::quiet};
    if (run.interrupt_at_step >= 0) {
      options.overrides.push_back(cat("train.stop_at_step=", run.interrupt_at_step));
    }
    const std::unique_ptr<train::Devices> devices =
        run.devices ? run.devices(comm.rank(), *backend) : nullptr;
    const bool skips = run.skip_on_rank < 0 || run.skip_on_rank == comm.rank();
    train::TrainJob job({.table = table,
                         .backend = *backend,
                         .fs = *fs,
                         .clock = *clock,
                         .host = "here",
                         .program_version = "test",
                         .program_hash = "0",
                         .generation = run.generation,
                         .skip_steps = skips ? run.skip_steps : std::vector<std::int64_t>{},
                         .memory_dir = run.memory_dir ? run.memory_dir(comm.rank()) : "",
                         .devices = devices.get()},
                        options);
    comm.barrier();
    const train::RunSummary mine = job.run(comm, stop);
    if (comm.rank() == 0) summary = mine;
  });
  return summary;
}

}  // namespace dlt::train_test
