// SPDX-License-Identifier: Apache-2.0
// The same bits on 1, 2, 3 and 4 ranks for each family of models.
#include <map>

#include <gtest/gtest.h>

#include "train/small_job.h"

namespace dlt::train_test {
namespace {

const std::map<std::string, std::string>& models() {
  static const std::map<std::string, std::string> layers{
      {"Cnn",
       "[{reshape: {shape: [2, 3, 1]}}, {conv2d: {filters: 8, kernel_size: 3, padding: same}}, "
       "batch_norm, relu, {residual: [{conv2d: {filters: 8, kernel_size: 1}}]}, "
       "global_avg_pool2d, {dense: {units: 3}}]"},
      {"Lstm",
       "[{reshape: {shape: [3, 2]}}, {lstm: {units: 8, return_sequences: true}}, {dropout: {rate: "
       "0.2}}, {gru: {units: 6}}, {dense: {units: 3}}]"},
      {"SyncBatchNorm",  // biases before a batch_norm would have no gradient but rounding
       "[{dense: {units: 8, use_bias: false}}, {batch_norm: {sync: true}}, relu, {dense: {units: "
       "8, "
       "use_bias: false}}, {batch_norm: {sync: true}}, {dense: {units: 3}}]"},
      {"Transformer",
       "[{reshape: {shape: [3, 2]}}, {dense: {units: 8}}, {positional_embedding: {max_length: 3}}, "
       "{transformer_block: {heads: 2, causal: true, dropout: 0.1}}, flatten, {dense: {units: "
       "3}}]"},
  };
  return layers;
}

class ModelBits : public ::testing::TestWithParam<std::string> {};

TEST_P(ModelBits, DoNotDependOnRanksOrThreads) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const auto hash = [&](int ranks, const std::string& threads) {
    return run_job(files, {.ranks = ranks,
                           .overrides = {"model.layers=" + models().at(GetParam()),
                                         "train.threads=" + threads},
                           .resume = {.overwrite = true}})
        .weights_hash;
  };
  const std::string reference = hash(1, "1");
  for (const int ranks : {2, 3, 4}) EXPECT_EQ(hash(ranks, "1"), reference) << ranks << " ranks";
  EXPECT_EQ(hash(1, "3"), reference) << "3 threads";
  EXPECT_EQ(hash(2, "2"), reference) << "2 ranks x 2 threads";
}

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const auto& entry : models()) out.push_back(entry.first);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Families, ModelBits, ::testing::ValuesIn(names()),
                         [](const auto& model) { return model.param; });

/// The statistics of the whole step: how it is cut into leaves changes only the rounding.
TEST(SyncBatchNorm, DoesNotDependOnTheNumberOfLeaves) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const auto loss = [&](const std::string& leaves) {
    return run_job(files, {.overrides = {"model.layers=" + models().at("SyncBatchNorm"), leaves},
                           .resume = {.overwrite = true}})
        .eval.at(0)
        .second;
  };
  const double one = loss("train.leaves=1");
  EXPECT_NEAR(loss("train.leaves=2"), one, 1e-4);
  EXPECT_NEAR(loss("train.leaves=5"), one, 1e-4);
}

}  // namespace
}  // namespace dlt::train_test
