// SPDX-License-Identifier: Apache-2.0
#include "train/trainer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "ops/ops.h"
#include "support/allocation_count.h"
#include "support/run_ranks.h"
#include "train/comm_plan.h"
#include "train/engine.h"
#include "train/small_job.h"
#include "train/state_place.h"
#include "train/step_watch.h"

namespace dlt::train_test {
namespace {

/// Rows of another data set, of which one cannot be read.
class BadRow final : public data::Dataset {
 public:
  BadRow(std::unique_ptr<data::Dataset> rows, std::int64_t bad_row)
      : rows_(std::move(rows)), bad_row_(bad_row) {}
  [[nodiscard]] std::int64_t num_rows() const override { return rows_->num_rows(); }
  [[nodiscard]] tensor::Shape input_shape() const override { return rows_->input_shape(); }
  [[nodiscard]] tensor::Shape target_shape() const override { return rows_->target_shape(); }
  void read(std::span<const std::int64_t> rows, void* inputs, void* targets) const override {
    if (std::find(rows.begin(), rows.end(), bad_row_) != rows.end()) {
      throw Error(Exit::data, cat("row ", bad_row_, " is bad"));
    }
    rows_->read(rows, inputs, targets);
  }
  [[nodiscard]] std::uint64_t fingerprint() const override { return rows_->fingerprint(); }
  [[nodiscard]] bool in_memory() const override { return rows_->in_memory(); }

 private:
  std::unique_ptr<data::Dataset> rows_;
  std::int64_t bad_row_;
};

using Body = std::function<void(comm::Communicator&, train::Trainer&, train::ModelState&)>;

using WatchOf = std::function<train::StepWatch*(int rank)>;

/// Runs body on each of `ranks` ranks; reading bad_row fails.
void with_trainers(const JobFiles& files, int ranks, int threads,
                   const std::vector<std::string>& overrides, const Body& body,
                   std::int64_t bad_row = -1, const WatchOf& watch_of = {}) {
  run_ranks(ranks, [&](comm::Communicator& comm) {
    const autodiff::OpTable table = ops::make_op_table();
    const auto backend = tensor::make_cpu_backend();
    SystemClock clock;
    const train::RunConfig config =
        train::read_run_config(files.config, overrides, table, *backend);
    const BadRow dataset(train::open_dataset(config, *config.train_data), bad_row);
    backend->enter_thread();
    ThreadPool pool(threads);
    const auto program = train::training_program(config, table, *backend, 2);
    const train::CommPlan plan = train::plan_communication(config, *program, comm, clock);
    train::StateExtras extras = train::state_extras(config, 5);
    train::place_state(config, *program, plan, *backend, comm, train::SharedRoom::gradients,
                       extras);
    train::ModelState state(program->layout(), config.optimizer.get(), *backend, extras);
    state.initialize(config.model->params(), config.seed);
    train::Trainer trainer({.config = config,
                            .program = *program,
                            .backend = *backend,
                            .comm = comm,
                            .pool = pool,
                            .clock = clock,
                            .host = "here",
                            .watch = watch_of ? watch_of(comm.rank()) : nullptr,
                            .plan = &plan},
                           dataset, state,
                           {.num_leaves = 6, .first_step = 0, .end_step = 60, .total_steps = 60});
    body(comm, trainer, state);
    trainer.settle();
  });
}

/// Allocations of all threads in 40 steps on `ranks` ranks, after a first few.
long allocations_in_steps(const JobFiles& files, int ranks, int threads,
                          const std::vector<std::string>& overrides) {
  std::atomic<long> counted_here{0};
  const Body body = [&](comm::Communicator& comm, train::Trainer& trainer, train::ModelState&) {
    for (int i = 0; i < 12; ++i) (void)trainer.step({.want_norm = true});
    comm.barrier();
    const long before = test::num_allocations();
    for (int i = 0; i < 40; ++i) (void)trainer.step({.want_norm = true});
    const long after = test::num_allocations();
    comm.barrier();
    if (comm.rank() == 0) counted_here = after - before;
  };
  with_trainers(files, ranks, threads, overrides, body);
  return counted_here;
}

TEST(Trainer, StepsAllocateNothing) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  EXPECT_EQ(allocations_in_steps(files, 1, 1, {"data.workers=0"}), 0);
  EXPECT_EQ(allocations_in_steps(files, 1, 3, {"data.workers=2"}), 0);
  for (const char* memory : {"auto", "gradients", "off"}) {
    EXPECT_EQ(allocations_in_steps(files, 2, 1,
                                   {"comm.bucket_mb=0.0001", cat("comm.shared_memory=", memory)}),
              0);
  }
  EXPECT_EQ(allocations_in_steps(files, 2, 2, {"optimizer={name: lamb}", "train.clip_norm=1"}), 0);
  for (const char* shard : {"train.shard=optimizer", "train.shard=gradients"}) {
    EXPECT_EQ(allocations_in_steps(files, 2, 1, {shard, "comm.bucket_mb=0.0001"}), 0);
    EXPECT_EQ(allocations_in_steps(files, 2, 2,
                                   {shard, "optimizer={name: lamb}", "train.ema={}",
                                    "train.clip_norm=1", "comm.bucket_mb=0.0001"}),
              0);
  }
  EXPECT_EQ(allocations_in_steps(files, 1, 2,
                                 {"optimizer={name: lamb, groups: [{match: '*.bias', l2: 0.1}]}",
                                  "train.ema={}", "train.clip_value=1", "train.clip_norm=1"}),
            0);
  EXPECT_EQ(allocations_in_steps(files, 1, 2,
                                 {"data.augment={mixup: {}}",
                                  "metrics=[accuracy, f1, confusion_matrix, perplexity]"}),
            0);
}

/// Changes a weight of the last rank behind the second step; what step threw on a rank at which
/// step. The comparison is due every three steps.
std::string differing_replica(int ranks, const std::string& shard) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  std::atomic<int> named{0};
  std::string message;
  std::mutex mutex;
  with_trainers(files, ranks, 1, {"comm.verify_every=3", "comm.shared_memory=gradients", shard},
                [&](comm::Communicator& comm, train::Trainer& trainer, train::ModelState& state) {
                  for (int i = 0; i < 2; ++i) (void)trainer.step({});
                  trainer.settle();
                  if (comm.rank() == ranks - 1) state.params()[5] += 1e-7F;
                  (void)trainer.step({});
                  try {
                    (void)trainer.step({});
                  } catch (const Error& error) {
                    EXPECT_EQ(error.exit(), Exit::internal);
                    ++named;
                    const std::lock_guard lock(mutex);
                    message = error.what();
                  }
                });
  EXPECT_EQ(named, ranks);
  return message;
}

TEST(Trainer, ReplicaThatDiffersIsNamedAtTheNextComparison) {
  EXPECT_THAT(differing_replica(3, "train.shard=none"),
              testing::StartsWith("rank 2 (here): differs from the other ranks in the weights "
                                  "after step 3: "));
}

TEST(Trainer, OfTwoReplicasThatDifferBothAreNamed) {
  const std::string message = differing_replica(2, "train.shard=none");
  EXPECT_THAT(message, testing::StartsWith("the ranks differ in the weights after step 3: rank "));
  EXPECT_THAT(message, testing::HasSubstr("rank 0 (here): "));
  EXPECT_THAT(message, testing::HasSubstr("rank 1 (here): "));
}

/// What the ranks of a host share is compared between hosts alone.
TEST(Trainer, RanksOfAHostHaveOneReplica) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  with_trainers(files, 3, 1, {"comm.verify_every=1", "train.ema={}"},
                [&](comm::Communicator& comm, train::Trainer& trainer, train::ModelState& state) {
                  (void)trainer.step({});
                  if (comm.rank() == 2) state.params()[5] = 0.5F;
                  comm.barrier();
                  EXPECT_EQ(state.params()[5], 0.5F);
                  EXPECT_EQ(state.averaging().active(), state.average() != nullptr);
                  for (int i = 0; i < 3; ++i) (void)trainer.step({});
                });
}

/// Is slow, and looks whether the parameters stay as they are while a leaf is computed.
class SlowReader final : public train::StepWatch, public autodiff::CallWatch {
 public:
  [[nodiscard]] autodiff::CallWatch* leaf(int /*leaf*/) override { return this; }
  void made(const autodiff::Node& /*node*/, std::span<const tensor::View> /*outputs*/) override {
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    const float* now = state_->params();
    if (!std::equal(before_.begin(), before_.end(), now)) ++num_changes_;
  }
  void begin_step(const train::ModelState& state) {
    state_ = &state;
    before_.assign(state.params(), state.params() + state.layout().total);
  }
  [[nodiscard]] int num_changes() const { return num_changes_; }

 private:
  const train::ModelState* state_ = nullptr;
  std::vector<float> before_;
  int num_changes_ = 0;
};

/// Parameters that ranks share are updated bucket by bucket, but not under a rank that reads them.
TEST(Trainer, NobodyUpdatesWhatAnotherRankStillReads) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  for (const char* norm : {"train.clip_value=100", "train.clip_norm=100"}) {
    SlowReader reader;
    with_trainers(
        files, 2, 1, {"comm.bucket_mb=0.0001", norm, "data.workers=0"},
        [&](comm::Communicator& comm, train::Trainer& trainer, train::ModelState& state) {
          for (int i = 0; i < 5; ++i) {
            if (comm.rank() == 1) reader.begin_step(state);
            (void)trainer.step({});
          }
        },
        -1, [&](int rank) { return rank == 1 ? &reader : nullptr; });
    EXPECT_EQ(reader.num_changes(), 0) << norm;
  }
}

/// Also where the other ranks have updated what they could before they heard of it.
TEST(Trainer, AFailureOnOneRankIsThrownOnAllOfThemInThatStep) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  constexpr std::int64_t kRow_of_step_3 = 34;
  for (const char* way : {"train.shard=none", "comm.shared_memory=gradients",
                          "train.shard=optimizer", "train.shard=gradients"}) {
    std::atomic<int> failures{0};
    const Body body = [&](comm::Communicator&, train::Trainer& trainer, train::ModelState&) {
      for (int i = 0; i < 3; ++i) (void)trainer.step({});
      try {
        (void)trainer.step({});
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::data);
        EXPECT_THAT(error.what(), testing::HasSubstr("row 34 is bad"));
        ++failures;
      }
    };
    with_trainers(files, 3, 1,
                  {way, "data.shuffle=false", "data.workers=0", "comm.bucket_mb=0.0001"}, body,
                  kRow_of_step_3);
    EXPECT_EQ(failures, 3) << way;
  }
}

TEST(Trainer, CountingAllocatorCounts) {
  const long before = test::num_allocations();
  void* memory = ::operator new(1);  // a call that no compiler may leave out
  EXPECT_EQ(test::num_allocations() - before, 1);
  ::operator delete(memory);
}

}  // namespace
}  // namespace dlt::train_test
