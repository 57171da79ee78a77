// SPDX-License-Identifier: Apache-2.0
#include "ddp/reducer.h"

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <latch>
#include <mutex>
#include <new>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "ddp/sum.h"
#include "support/reducer_case.h"
#include "support/run_ranks.h"

namespace {
std::atomic<bool> counting{false};
std::atomic<int> allocations{0};
void* allocate(std::size_t size) {
  if (counting) ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
}  // namespace
void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
// Inlined by halves in some builds, which makes a pair of ours look mixed.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace dlt::ddp {
namespace {

using testing::HasSubstr;

/// Runs the case on thread ranks; every rank's sums must agree before they are returned.
Sums run_case(const ReducerCase& the_case, int world_size) {
  std::mutex mutex;
  std::optional<Sums> first;
  run_ranks(world_size, [&](comm::Communicator& comm) {
    const Sums mine = run_steps(comm, the_case);
    const std::lock_guard lock(mutex);
    if (!first) first = mine;
    EXPECT_EQ(*first, mine) << "ranks differ among themselves: " << the_case.text();
  });
  return *first;
}

TEST(Sum, AddsInAnyAlignmentAndInPlace) {
  std::vector<float> a(70);
  std::vector<float> b(70);
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<float>(i);
    b[i] = 0.5F;
  }
  for (std::int64_t count : {0, 1, 7, 8, 15, 33, 69}) {
    std::vector<float> out(70, -1.0F);
    add(out.data() + 1, a.data() + 1, b.data() + 1, count);
    for (std::int64_t i = 0; i < 69; ++i) {
      const auto at = static_cast<std::size_t>(i + 1);
      EXPECT_EQ(out[at], i < count ? a[at] + 0.5F : -1.0F);
    }
  }
  std::vector<float> past(70, -1.0F);
  for (std::int64_t begin : {0, 1, 3}) {
    add_past_caches(past.data() + begin, a.data() + begin, b.data() + begin, 70 - begin);
    EXPECT_EQ(past[static_cast<std::size_t>(begin)], a[static_cast<std::size_t>(begin)] + 0.5F);
    EXPECT_EQ(past[69], 69.5F);
  }
  std::vector<float> right = b;
  add(right.data(), a.data(), right.data(), 70);
  EXPECT_EQ(right[69], 69.5F);
}

TEST(Reducer, TheSumIsTheTreeWrittenOut) {
  const ReducerCase c{.num_leaves = 5, .num_workers = 2};
  const Sums sums = run_case(c, 3);
  std::vector<std::vector<float>> leaves(5);
  for (int leaf = 0; leaf < 5; ++leaf)
    leaves[static_cast<std::size_t>(leaf)] = c.gradients(c.num_steps - 1, leaf);
  for (std::size_t i = 0; i < sums.gradients.size(); ++i) {
    const float expected =
        ((leaves[0][i] + leaves[1][i]) + (leaves[2][i] + leaves[3][i])) + leaves[4][i];
    ASSERT_EQ(sums.gradients[i], expected) << i;
  }
  std::vector<double> of;
  for (int leaf = 0; leaf < 5; ++leaf) of.push_back(c.sums(c.num_steps - 1, leaf)[0]);
  EXPECT_EQ(sums.sums[0], ((of[0] + of[1]) + (of[2] + of[3])) + of[4]);
}

TEST(Reducer, BitsDependOnTheLeavesAlone) {
  for (int leaves = 1; leaves <= 9; ++leaves) {
    const ReducerCase reference{.num_leaves = leaves};
    const Sums expected = run_case(reference, 1);
    for (int ranks = 1; ranks <= 6; ++ranks) {
      for (int workers = 1; workers <= 3; ++workers) {
        ReducerCase c = reference;
        c.num_workers = workers;
        EXPECT_EQ(run_case(c, ranks), expected) << ranks << " ranks, " << c.text();
      }
    }
  }
}

TEST(Reducer, BitsDependOnNeitherBucketsNorOverlapNorDelays) {
  const ReducerCase reference{.num_leaves = 7};
  const Sums expected = run_case(reference, 1);
  for (std::int64_t bucket_elements : {16, 48, 1000, 100000}) {
    for (bool overlap : {true, false}) {
      for (int ranks : {1, 2, 5}) {
        ReducerCase c = reference;
        c.bucket_elements = bucket_elements;
        c.overlap = overlap;
        c.num_workers = 2;
        c.delays = true;
        EXPECT_EQ(run_case(c, ranks), expected) << ranks << " ranks, " << c.text();
      }
    }
  }
}

TEST(Reducer, LargeBucketsTakeTheSlicedWayWithTheSameBits) {
  ReducerCase c{.num_leaves = 5,
                .num_params = 9,
                .param_elements = 5000,
                .bucket_elements = 20000,
                .num_steps = 1};
  const Sums expected = run_case(c, 1);
  for (int ranks = 2; ranks <= 6; ++ranks) {
    for (int workers : {1, 2}) {
      c.num_workers = workers;
      EXPECT_EQ(run_case(c, ranks), expected) << ranks << " ranks, " << c.text();
    }
  }
}

TEST(Reducer, EmptyLeavesAreZerosOnAnyRanks) {
  for (int leaves : {1, 4, 7}) {
    ReducerCase c{.num_leaves = leaves, .num_empty = 2};
    const Sums expected = run_case(c, 1);
    for (int ranks : {2, 3, 6}) {
      c.num_workers = 2;
      EXPECT_EQ(run_case(c, ranks), expected) << ranks << " ranks, " << c.text();
    }
    // As if the leaf had been there, with zeros.
    ReducerCase zeros = c;
    zeros.write_zeros = true;
    EXPECT_EQ(run_case(zeros, 2), expected) << c.text();
  }
}

TEST(Reducer, FastIsCloseToExact) {
  for (int ranks : {1, 2, 3, 5}) {
    for (int leaves : {3, 8}) {
      ReducerCase c{.num_leaves = leaves, .num_workers = 2, .narrow = true};
      const Sums exact = run_case(c, 1);
      c.reduction = Reduction::fast;
      const Sums fast = run_case(c, ranks);
      EXPECT_EQ(fast.sums, exact.sums);
      ASSERT_EQ(fast.gradients.size(), exact.gradients.size());
      for (std::size_t i = 0; i < exact.gradients.size(); ++i) {
        ASSERT_NEAR(fast.gradients[i], exact.gradients[i], 1e-5) << ranks << " ranks, " << c.text();
      }
    }
  }
}

TEST(Reducer, OneLeafOfOneWorkerOnOneRankIsNotCopied) {
  const auto comm = comm::make_self();
  Reducer reducer(*comm, {.total = 32, .buckets = {{0, 32}}, .num_leaves = 1});
  EXPECT_EQ(reducer.reduced(), reducer.leaf_gradients(0, 0));
}

TEST(Reducer, NoParametersStillCarriesSumsAndControl) {
  run_ranks(2, [](comm::Communicator& comm) {
    Reducer reducer(comm, {.num_leaves = 2, .num_sums = 1});
    reducer.begin_step(1);
    reducer.gradients_final(0, 0, 0);
    const double one = 1;
    reducer.leaf_sums(0, 0, std::span(&one, 1));
    EXPECT_EQ(reducer.finish_step({}).sums[0], 2.0);
  });
}

TEST(Reducer, ControlWordIsTheMaximumAndNamesTheLowestFailingRank) {
  run_ranks(4, [](comm::Communicator& comm) {
    Reducer reducer(comm, {.num_leaves = 4});
    for (int step = 0; step < 3; ++step) {
      reducer.begin_step(step);
      reducer.gradients_final(0, 0, 0);
      ControlWord word;
      if (step == 1) word.stop = comm.rank() == 3 ? 1 : 0;
      if (step == 2) word.error = comm.rank() == 1 ? 65 : comm.rank() == 2 ? 80 : 0;
      const StepResult& result = reducer.finish_step(word);
      EXPECT_EQ(result.control.stop, step == 1 ? 1 : 0);
      EXPECT_EQ(result.control.error, step == 2 ? 80 : 0);
      EXPECT_EQ(result.error_rank, step == 2 ? 1 : -1);
    }
  });
}

TEST(Reducer, FailingWorkerKeepsAllRanksInStepAndTheNextStepIsRight) {
  for (int failing_leaf : {0, 1}) {
    for (bool overlap : {true, false}) {
      run_ranks(3, [&](comm::Communicator& comm) {
        ReducerCase c{.num_leaves = 9, .num_workers = 2, .overlap = overlap};
        Reducer reducer(comm, c.options());
        reducer.begin_step(0);
        for (int w = 0; w < 2; ++w) {
          const bool fails = comm.rank() == 1 && w == 1;
          run_worker(reducer, c, 0, w, fails ? failing_leaf : -1);
        }
        ControlWord word;
        if (comm.rank() == 1) word.error = 65;
        EXPECT_EQ(reducer.finish_step(word).error_rank, 1);
        const Sums sums = run_step(reducer, c, 1);
        ReducerCase alone = c;
        const auto self = comm::make_self();
        Reducer reference(*self, alone.options());
        EXPECT_EQ(sums, run_step(reference, alone, 1));
      });
    }
  }
}

TEST(Reducer, WorkerThatOwesGradientsIsAnInternalErrorOfItsRank) {
  run_ranks(2, [](comm::Communicator& comm) {
    ReducerCase c{.num_leaves = 4};
    Reducer reducer(comm, c.options());
    reducer.begin_step(0);
    if (comm.rank() == 0) run_worker(reducer, c, 0, 0);
    const StepResult& result = reducer.finish_step({});
    EXPECT_EQ(result.control.error, static_cast<int>(Exit::internal));
    EXPECT_EQ(result.error_rank, 1);
  });
}

TEST(Reducer, TimesOfBucketsAreInOrder) {
  run_ranks(3, [](comm::Communicator& comm) {
    ReducerCase c{.num_leaves = 5, .num_workers = 2, .bucket_elements = 80};
    Reducer reducer(comm, c.options());
    for (int step = 0; step < 2; ++step) {
      (void)run_step(reducer, c, step);
      ASSERT_EQ(reducer.times().size(), 5U);
      double before = 0, waited = 0;
      for (const BucketTimes& times : reducer.times()) {
        EXPECT_GT(times.ready_s, 0);
        EXPECT_GE(times.started_s, times.ready_s);
        EXPECT_GE(times.started_s, before) << "buckets move one behind the other";
        EXPECT_GT(times.finished_s, times.started_s);
        EXPECT_GE(times.waited_s, 0);
        before = times.finished_s;
        waited += times.waited_s;
      }
      EXPECT_LE(waited, reducer.exposed_s() + 1e-9);
    }
  });
}

TEST(Reducer, OneRankHasNoTimes) {
  const auto self = comm::make_self();
  const ReducerCase c;
  Reducer reducer(*self, c.options());
  (void)run_step(reducer, c, 0);
  EXPECT_TRUE(reducer.times().empty());
}

TEST(Reducer, BucketsCanBeTakenAsTheyLand) {
  run_ranks(3, [](comm::Communicator& comm) {
    ReducerCase c{.num_leaves = 5, .bucket_elements = 80};
    const auto self = comm::make_self();
    const Sums expected = run_steps(*self, c);
    Reducer reducer(comm, c.options());
    (void)run_step(reducer, c, 0);
    reducer.begin_step(1);
    EXPECT_THROW((void)reducer.wait_for_bucket(0), Error) << "the step is not closed";
    run_worker(reducer, c, 1, 0);
    reducer.close_step({});
    std::size_t next = 0;
    for (std::size_t b = 0; b < 5; ++b) {
      const std::size_t landed = reducer.wait_for_bucket(b);
      ASSERT_GT(landed, b);
      for (; next < landed * 80; ++next) {
        ASSERT_EQ(reducer.reduced()[next], expected.gradients[next]) << next;
      }
    }
    EXPECT_EQ(reducer.finish_step().sums, expected.sums);
  });
}

TEST(Reducer, StuckPeerIsNamedByBucketAndStepAfterTheTimeout) {
  for (Reduction reduction : {Reduction::exact, Reduction::fast}) {
    std::latch ended(1);
    run_ranks(2, [&](comm::Communicator& comm) {
      ReducerCase c{.num_leaves = 2, .bucket_elements = 32, .reduction = reduction};
      ReducerOptions options = c.options();
      options.timeout_s = 0.05;
      Reducer reducer(comm, options);
      if (comm.rank() == 1) return ended.wait();
      reducer.begin_step(812);
      run_worker(reducer, c, 812, 0);
      try {
        reducer.finish_step({});
        ADD_FAILURE() << "no timeout";
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::peer_lost);
        EXPECT_THAT(error.what(), HasSubstr("rank 0: waited 0.05 s for bucket 0 of step 812"));
      }
      EXPECT_THROW(reducer.begin_step(813), Error);
      ended.count_down();
    });
  }
}

TEST(Reducer, FailureOfTheTransportIsThrownByFinishStep) {
  run_ranks(3, [](comm::Communicator& comm) {
    ReducerCase c{.num_leaves = 3};
    auto reducer = std::make_unique<Reducer>(comm, c.options());
    if (comm.rank() == 2) return;  // its channel goes with it
    reducer->begin_step(5);
    run_worker(*reducer, c, 5, 0);
    try {
      reducer->finish_step({});
      ADD_FAILURE() << "no failure";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::peer_lost);
      EXPECT_THAT(error.what(), HasSubstr("is gone"));
    }
  });
}

TEST(Reducer, RanksAtDifferentStepsAreFound) {
  EXPECT_THROW(run_ranks(2,
                         [](comm::Communicator& comm) {
                           ReducerCase c{.num_leaves = 2};
                           Reducer reducer(comm, c.options());
                           reducer.begin_step(comm.rank());
                           run_worker(reducer, c, 0, 0);
                           reducer.finish_step({});
                         }),
               Error);
}

/// exact, fast, and exact with each compression.
std::vector<ReducerCase> each_way() {
  std::vector<ReducerCase> cases{{}, {.reduction = Reduction::fast}};
  for (std::size_t kind = 1; kind < compression_names().size(); ++kind) {
    cases.push_back({.compression = {.kind = static_cast<Compression>(kind)}});
  }
  return cases;
}

TEST(Reducer, AllocatesNothingAfterTheFirstStep) {
  for (int ranks : {1, 2, 3}) {
    for (const ReducerCase& way : each_way()) {
      run_ranks(ranks, [&](comm::Communicator& comm) {
        ReducerCase c = way;
        c.num_leaves = 7;
        c.param_elements = 3200;
        c.bucket_elements = 6400;
        Reducer reducer(comm, c.options());
        const std::vector<float> gradients = c.gradients(0, 0);
        const std::vector<double> sums(2, 1.0);
        const std::int64_t total = c.options().total;
        for (int step = 0; step < 4; ++step) {
          if (step == 2) comm.barrier();
          if (step == 2 && comm.rank() == 0) allocations = 0;
          if (step == 2) comm.barrier();
          if (step == 2) counting = true;
          reducer.begin_step(step);
          for (int i = 0; i < reducer.worker_leaves(0).size(); ++i) {
            std::memcpy(reducer.leaf_gradients(0, i), gradients.data(),
                        gradients.size() * sizeof(float));
            reducer.gradients_final(0, i, total);
            reducer.leaf_sums(0, i, sums);
          }
          reducer.finish_step({});
        }
        counting = false;
        EXPECT_EQ(allocations, 0) << ranks << " ranks, " << c.text();
      });
    }
  }
}

TEST(Reducer, WrongUseIsAnInternalError) {
  const auto comm = comm::make_self();
  EXPECT_THROW(Reducer(*comm, {.total = 32, .buckets = {{0, 16}}}), Error);
  EXPECT_THROW(Reducer(*comm, {.total = 32, .buckets = {{0, 16}, {20, 32}}}), Error);
  Reducer reducer(*comm, {.total = 32, .buckets = {{0, 32}}, .num_leaves = 2});
  EXPECT_THROW(reducer.finish_step({}), Error);
  reducer.begin_step(0);
  EXPECT_THROW(reducer.begin_step(1), Error);
  EXPECT_THROW((void)reducer.leaf_gradients(0, 2), Error);
  EXPECT_THROW((void)reducer.leaf_gradients(1, 0), Error);
  EXPECT_THROW(reducer.gradients_final(0, 1, 32), Error);
  EXPECT_THROW(reducer.leaf_sums(0, 0, std::vector<double>(3)), Error);
}

}  // namespace
}  // namespace dlt::ddp
