// SPDX-License-Identifier: Apache-2.0
// Whole steps of a reducer with each compression.
#include "ddp/compression/compression.h"

#include <cmath>
#include <limits>
#include <map>
#include <mutex>

#include <gtest/gtest.h>

#include "support/reducer_case.h"
#include "support/run_ranks.h"

namespace dlt::ddp {
namespace {

std::vector<Compression> all_kinds() {
  std::vector<Compression> kinds;
  for (std::size_t i = 1; i < compression_names().size(); ++i) {
    kinds.push_back(static_cast<Compression>(i));
  }
  return kinds;
}

ReducerCase case_of(Compression kind) {
  return {.num_leaves = 7,
          .param_elements = 4800,
          .bucket_elements = 9600,
          .num_steps = 4,
          .narrow = true,
          .compression = {.kind = kind, .rank = 2, .share = 0.1}};
}

/// What the ranks of a job saw.
struct Outcome {
  std::vector<Sums> steps;
  std::map<int, std::vector<float>> residuals;  // of each rank, at the end
};

Outcome run(const ReducerCase& c, int world_size) {
  Outcome outcome;
  std::mutex mutex;
  run_ranks(world_size, [&](comm::Communicator& comm) {
    Reducer reducer(comm, c.options());
    std::vector<Sums> steps;
    for (int step = 0; step < c.num_steps; ++step) steps.push_back(run_step(reducer, c, step));
    const std::lock_guard lock(mutex);
    if (outcome.steps.empty()) outcome.steps = steps;
    EXPECT_EQ(outcome.steps, steps) << "ranks differ among themselves: " << c.text();
    const auto residual = reducer.reduction_state().residual;
    outcome.residuals[comm.rank()].assign(residual.begin(), residual.end());
  });
  return outcome;
}

TEST(Compression, NamesAreThoseOfTheList) {
  EXPECT_EQ(compression_names(),
            (std::vector<std::string>{"none", "bf16", "fp16", "int8", "powersgd", "topk"}));
  EXPECT_EQ(compression_of("topk"), Compression::topk);
}

TEST(Compression, GivesTheSameBitsAgainForAnyWorkersAndDelays) {
  for (const Compression kind : all_kinds()) {
    for (const int ranks : {2, 3, 5}) {
      ReducerCase c = case_of(kind);
      const Outcome first = run(c, ranks);
      c.num_workers = 2;
      c.delays = true;
      const Outcome again = run(c, ranks);
      EXPECT_EQ(first.steps, again.steps) << ranks << " ranks, " << c.text();
      EXPECT_EQ(first.residuals, again.residuals) << ranks << " ranks, " << c.text();
    }
  }
}

TEST(Compression, OneRankSendsNothingAndRoundsNothing) {
  for (const Compression kind : all_kinds()) {
    ReducerCase plain = case_of(kind);
    plain.compression = {};
    EXPECT_EQ(run(case_of(kind), 1).steps, run(plain, 1).steps);
  }
}

TEST(Compression, HalvesAreCloseAndTheRestIsRoughOnceAndRightInTheLongRun) {
  for (const Compression kind : all_kinds()) {
    const ReducerCase c = case_of(kind);
    ReducerCase plain = c;
    plain.compression = {};
    const Outcome exact = run(plain, 1);
    for (const int ranks : {2, 4}) {
      const Outcome got = run(c, ranks);
      const auto total = got.steps[0].gradients.size();
      for (std::size_t i = 0; i < total && !c.compression.has_error_feedback(); ++i) {
        // Seven leaves in [0, 1): a rounding of each rank's sum and one of the result.
        const double bound = (kind == Compression::bf16 ? 0x1.0p-8 : 0x1.0p-11) * 2 * 7;
        ASSERT_NEAR(got.steps[3].gradients[i], exact.steps[3].gradients[i], bound) << c.text();
      }
      if (!c.compression.has_error_feedback()) continue;
      double largest_once = 0;
      for (std::size_t i = 0; i < total; ++i) {
        double sent = 0, wanted = 0, owed = 0;
        for (int step = 0; step < c.num_steps; ++step) {
          const auto s = static_cast<std::size_t>(step);
          sent += static_cast<double>(got.steps[s].gradients[i]);
          wanted += static_cast<double>(exact.steps[s].gradients[i]);
          largest_once = std::max<double>(
              largest_once, std::abs(got.steps[s].gradients[i] - exact.steps[s].gradients[i]));
        }
        for (const auto& [rank, residual] : got.residuals) {
          owed += static_cast<double>(residual[i]);
        }
        ASSERT_NEAR(sent + owed, wanted, 2e-4)
            << "element " << i << ", " << ranks << " ranks, " << c.text();
      }
      EXPECT_GT(largest_once, 1e-3) << "nothing was left out: " << c.text();
    }
  }
}

TEST(Compression, ExactRangesHaveTheBitsOfTheLeafTree) {
  for (const Compression kind : all_kinds()) {
    ReducerCase c = case_of(kind);
    c.narrow = false;  // any other order of additions shows
    c.num_exact = 3;   // a whole bucket and half of another
    ReducerCase plain = c;
    plain.compression = {};
    const Outcome expected = run(plain, 1);
    for (const int ranks : {2, 3, 4}) {
      const Outcome got = run(c, ranks);
      const std::size_t first = 2 * 4800;
      for (std::size_t s = 0; s < expected.steps.size(); ++s) {
        for (std::size_t i = first; i < expected.steps[s].gradients.size(); ++i) {
          ASSERT_EQ(got.steps[s].gradients[i], expected.steps[s].gradients[i])
              << "step " << s << ", element " << i << ", " << ranks << " ranks, " << c.text();
        }
      }
      EXPECT_NE(got.steps, expected.steps);
    }
  }
}

/// A NaN is seen by all ranks, and the residuals do not remember it.
TEST(Compression, ANanComesOutAsNanAndIsForgotten) {
  for (const Compression kind : all_kinds()) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      const ReducerCase c = case_of(kind);
      run_ranks(3, [&](comm::Communicator& comm) {
        Reducer reducer(comm, c.options());
        for (int step = 0; step < 3; ++step) {
          reducer.begin_step(step);
          for (int i = 0; i < reducer.worker_leaves(0).size(); ++i) {
            const std::vector<float> gradients = c.gradients(step, i);
            float* to = reducer.leaf_gradients(0, i);
            std::copy(gradients.begin(), gradients.end(), to);
            if (step == 1 && comm.rank() == 1 && i == 0) to[100] = bad;
            reducer.gradients_final(0, i, static_cast<std::int64_t>(gradients.size()));
          }
          (void)reducer.finish_step({});
          bool finite = true;
          for (int i = 0; i < c.num_params * c.param_elements; ++i) {
            finite = finite && std::isfinite(reducer.reduced()[i]);
          }
          EXPECT_EQ(finite, step != 1) << "step " << step << ", " << c.text();
          EXPECT_EQ(std::isfinite(reducer.reduced()[100]), step != 1) << c.text();
        }
        for (const float value : reducer.reduction_state().residual) {
          ASSERT_TRUE(std::isfinite(value)) << c.text();
        }
      });
    }
  }
}

TEST(Compression, StatisticsAndSmallParametersAreExact) {
  tensor::FlatLayout layout;
  layout.append("dense.weight", {512, 300});
  layout.append("dense.bias", {300});
  layout.append("norm.running_mean", {5000});
  layout.append("big.bias", {4096});
  layout.append("narrow.weight", {2000, 3});
  const auto exact = [&](CompressionOptions options) {
    std::vector<bool> out;
    for (const auto& range : gradient_ranges(layout, {"norm.running_mean"}, options)) {
      out.push_back(range.exact);
    }
    return out;
  };
  EXPECT_TRUE(exact({}).empty());
  EXPECT_EQ(exact({.kind = Compression::int8}),
            (std::vector<bool>{false, true, true, false, false}));
  EXPECT_EQ(exact({.kind = Compression::powersgd, .rank = 4}),
            (std::vector<bool>{false, true, true, true, true}));
}

TEST(Compression, RanksWithoutLeavesTakePart) {
  for (const Compression kind : all_kinds()) {
    ReducerCase c = case_of(kind);
    c.num_leaves = 2;
    const Outcome got = run(c, 4);
    ReducerCase plain = c;
    plain.compression = {};
    const Outcome exact = run(plain, 1);
    double difference = 0, length = 0;
    for (std::size_t i = 0; i < exact.steps[0].gradients.size(); ++i) {
      difference += std::pow(got.steps[0].gradients[i] - exact.steps[0].gradients[i], 2);
      length += std::pow(exact.steps[0].gradients[i], 2);
    }
    EXPECT_LT(difference, length) << c.text();
  }
}

}  // namespace
}  // namespace dlt::ddp
