// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <cmath>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/h5_files.h"

namespace dlt::data {
namespace {

using testing::caught;
using ::testing::HasSubstr;

/// Row r has inputs r and r + 0.5 and label r; one row may fail.
class CountingDataset final : public Dataset {
 public:
  explicit CountingDataset(std::int64_t rows, std::int64_t bad_row = -1)
      : rows_(rows), bad_row_(bad_row) {}
  [[nodiscard]] std::int64_t num_rows() const override { return rows_; }
  [[nodiscard]] tensor::Shape input_shape() const override { return {2}; }
  [[nodiscard]] tensor::Shape target_shape() const override { return {}; }
  [[nodiscard]] std::uint64_t fingerprint() const override { return 0; }
  [[nodiscard]] bool in_memory() const override { return true; }
  void read(std::span<const std::int64_t> rows, void* out, void* targets) const override {
    auto* const inputs = static_cast<float*>(out);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows[i] == bad_row_) throw Error(Exit::data, "row is bad");
      inputs[2 * i] = static_cast<float>(rows[i]);
      inputs[2 * i + 1] = static_cast<float>(rows[i]) + 0.5f;
      static_cast<std::int32_t*>(targets)[i] = static_cast<std::int32_t>(rows[i]);
    }
  }

 private:
  std::int64_t rows_;
  std::int64_t bad_row_;
};

const float* input(const LeafBatch& batch) { return static_cast<const float*>(batch.inputs); }

/// Everything next() hands out, as numbers.
std::vector<double> transcript(const Dataset& dataset, const Sampler& sampler,
                               const LoaderOptions& options) {
  Loader loader(dataset, sampler, options);
  std::vector<double> out;
  const std::int64_t leaves = (options.end_step - options.first_step) * options.num_leaves;
  for (std::int64_t i = 0; i < leaves; ++i) {
    const LeafBatch& batch = loader.next();
    out.push_back(static_cast<double>(batch.step));
    out.push_back(batch.leaf);
    out.push_back(static_cast<double>(batch.count));
    for (std::size_t row = 0; row < batch.sample_ids.size(); ++row) {
      out.push_back(static_cast<double>(batch.sample_ids[row]));
      out.push_back(static_cast<double>(batch.weights[row]));
      out.push_back(static_cast<double>(input(batch)[2 * row]));
      out.push_back(static_cast<double>(input(batch)[2 * row + 1]));
      out.push_back(static_cast<const std::int32_t*>(batch.targets)[row]);
    }
  }
  return out;
}

TEST(Loader, HandsOutTheSameLeavesForAnyThreadCount) {
  const CountingDataset dataset(103);
  const Sampler sampler({.num_rows = 103, .global_batch_size = 25, .num_leaves = 4, .seed = 5});
  LoaderOptions options{.first_leaf = 1, .num_leaves = 2, .first_step = 3, .end_step = 40};
  options.num_threads = 0;
  const std::vector<double> expected = transcript(dataset, sampler, options);
  for (const int num_threads : {-1, 1, 2, 4}) {
    for (const int prefetch : {1, 4, 7}) {
      options.num_threads = num_threads;
      options.prefetch = prefetch;
      ASSERT_EQ(transcript(dataset, sampler, options), expected) << num_threads << " " << prefetch;
    }
  }
}

TEST(Loader, CoversEachEpochOnceOverAllLeaves) {
  const CountingDataset dataset(37);
  const Sampler sampler({.num_rows = 37, .global_batch_size = 8, .num_leaves = 3, .seed = 5});
  const std::int64_t steps = sampler.steps_per_epoch();
  std::vector<int> seen(37, 0);
  for (int leaf = 0; leaf < 3; ++leaf) {
    Loader loader(dataset, sampler, {.first_leaf = leaf, .end_step = steps, .num_threads = 1});
    for (std::int64_t step = 0; step < steps; ++step) {
      const LeafBatch& batch = loader.next();
      EXPECT_EQ(batch.step, step);
      for (std::int64_t i = 0; i < batch.count; ++i) {
        ++seen[static_cast<std::size_t>(batch.sample_ids[static_cast<std::size_t>(i)])];
      }
    }
  }
  EXPECT_EQ(seen, std::vector<int>(37, 1));
}

TEST(Loader, PadsWithCopiesOfTheFirstRowAtWeightZero) {
  const CountingDataset dataset(10);
  const Sampler sampler({.num_rows = 10, .global_batch_size = 8, .shuffle = false});
  Loader loader(dataset, sampler, {.end_step = 2, .num_threads = 0});
  EXPECT_EQ(loader.next().count, 8);
  const LeafBatch& last = loader.next();
  ASSERT_EQ(last.count, 2);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(last.weights[i], i < 2 ? 1.0f : 0.0f);
    EXPECT_EQ(last.sample_ids[i], i < 2 ? static_cast<std::int64_t>(8 + i) : -1);
    EXPECT_EQ(input(last)[2 * i], i == 1 ? 9.0f : 8.0f);
    EXPECT_EQ(static_cast<const std::int32_t*>(last.targets)[i], i == 1 ? 9 : 8);
  }
}

TEST(Loader, EmptyLeavesHoldZeros) {
  const CountingDataset dataset(3);
  const Sampler sampler({.num_rows = 3, .global_batch_size = 8, .num_leaves = 4, .shuffle = false});
  Loader loader(dataset, sampler, {.num_leaves = 4, .end_step = 2, .num_threads = 1});
  int empty = 0;
  for (int i = 0; i < 8; ++i) {
    const LeafBatch& batch = loader.next();
    if (batch.count > 0) continue;
    ++empty;
    for (std::size_t row = 0; row < 2; ++row) {
      EXPECT_EQ(batch.weights[row], 0.0f);
      EXPECT_EQ(input(batch)[2 * row], 0.0f);
      EXPECT_EQ(static_cast<const std::int32_t*>(batch.targets)[row], 0);
    }
  }
  EXPECT_EQ(empty, 2);
}

TEST(Loader, FailureIsThrownByTheNextThatWouldHaveReturnedTheLeaf) {
  const CountingDataset dataset(40, 25);
  const Sampler sampler({.num_rows = 40, .global_batch_size = 10, .shuffle = false});
  for (const int num_threads : {0, 1, 3}) {
    Loader loader(dataset, sampler, {.end_step = 4, .num_threads = num_threads});
    EXPECT_EQ(loader.next().step, 0);
    EXPECT_EQ(loader.next().step, 1);
    EXPECT_REFUSED(loader.next(), Exit::data, HasSubstr("row is bad"));
    EXPECT_EQ(loader.next().step, 3);
  }
}

TEST(Loader, GoesAwayWhileItsThreadsArePrefetching) {
  const CountingDataset dataset(1000);
  const Sampler sampler({.num_rows = 1000, .global_batch_size = 10});
  for (int i = 0; i < 50; ++i) {
    Loader loader(dataset, sampler, {.end_step = 1000000, .num_threads = 4});
    for (int n = 0; n < i % 5; ++n) (void)loader.next();
  }
}

TEST(Loader, NextAfterTheLastLeafIsABug) {
  const CountingDataset dataset(10);
  const Sampler sampler({.num_rows = 10, .global_batch_size = 10});
  Loader loader(dataset, sampler, {.end_step = 1});
  (void)loader.next();
  EXPECT_REFUSED(loader.next(), Exit::internal, HasSubstr("last leaf"));
}

TEST(Loader, SeveralLoadersReadOneFileAtOnce) {
  const testing::TempDir dir;
  testing::make_h5(dir.file("a.h5"), [](hid_t f) {
    testing::put_f32(f, "/x", {500, 2}, testing::ramp(1000));
  });
  DatasetOptions open;
  open.file = dir.file("a.h5");
  open.inputs = "/x";
  open.cache_bytes = 0;
  const auto dataset = open_hdf5(open);
  const Sampler sampler({.num_rows = 500, .global_batch_size = 50, .num_leaves = 2, .seed = 1});
  std::vector<int> wrong(2, 0);
  std::vector<std::thread> threads;
  for (int leaf = 0; leaf < 2; ++leaf) {
    threads.emplace_back([&, leaf] {
      Loader loader(*dataset, sampler, {.first_leaf = leaf, .end_step = 20});
      for (int step = 0; step < 20; ++step) {
        const LeafBatch& batch = loader.next();
        for (std::size_t i = 0; i < 25; ++i) {
          const auto expected = static_cast<float>(2 * batch.sample_ids[i]);
          if (input(batch)[2 * i] != expected) ++wrong[static_cast<std::size_t>(leaf)];
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::vector<int>{0, 0}));
}

TEST(RandomDataset, IsAFunctionOfItsSeed) {
  const auto make = [](std::uint64_t seed) {
    return make_random_dataset({.num_rows = 100,
                                .input_shape = {3},
                                .target_kind = TargetKind::labels,
                                .num_classes = 5,
                                .seed = seed});
  };
  const auto values = [](const Dataset& dataset) {
    std::vector<float> inputs(6);
    std::vector<std::int32_t> labels(2);
    const std::vector<std::int64_t> rows = {0, 99};
    dataset.read(rows, inputs.data(), labels.data());
    for (const std::int32_t label : labels) {
      EXPECT_GE(label, 0);
      EXPECT_LT(label, 5);
    }
    return inputs;
  };
  EXPECT_EQ(values(*make(1)), values(*make(1)));
  EXPECT_NE(values(*make(1)), values(*make(2)));
}

TEST(RandomDataset, GivesTokensBelowTheirNumberAndLabelsAPosition) {
  const auto dataset = make_random_dataset({.num_rows = 50,
                                            .input_shape = {4},
                                            .target_shape = {4},
                                            .num_tokens = 7,
                                            .target_kind = TargetKind::labels,
                                            .num_classes = 3});
  std::vector<std::int32_t> tokens(8), labels(8);
  const std::vector<std::int64_t> rows = {0, 49};
  dataset->read(rows, tokens.data(), labels.data());
  EXPECT_THAT(tokens, ::testing::Each(::testing::AllOf(::testing::Ge(0), ::testing::Lt(7))));
  EXPECT_THAT(labels, ::testing::Each(::testing::AllOf(::testing::Ge(0), ::testing::Lt(3))));
  EXPECT_NE(std::vector<std::int32_t>(tokens.begin(), tokens.begin() + 4),
            std::vector<std::int32_t>(tokens.begin() + 4, tokens.end()));
}

}  // namespace
}  // namespace dlt::data
