// SPDX-License-Identifier: Apache-2.0
// Truncated back-propagation through time: states that go on from step to step.
#include <algorithm>
#include <cmath>
#include <fstream>

#include <gtest/gtest.h>

#include "autodiff/executor.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"
#include "checkpoint/store.h"
#include "data/writer.h"
#include "ops/ops.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

constexpr std::int64_t kWindows = 47, kBatch = 5, kSteps = 4;  // 9 steps an epoch, 2 rows left out
constexpr std::int64_t kWindow = 3;

/// Rows of 3 numbers in one long array; a window of 3 of them predicts the number of the next row.
float number(std::int64_t row, std::int64_t j) {
  return rng::normal({.seed = 9, .op = 1, .epoch = 0, .sample = static_cast<std::uint64_t>(row)},
                     static_cast<std::uint64_t>(j));
}

JobFiles write_stream_job(const TempFolder& folder, const std::string& layers) {
  std::vector<float> x(static_cast<std::size_t>(kWindows * kWindow * 2)), y;
  for (std::int64_t row = 0; row < kWindows * kWindow; ++row) {
    for (std::int64_t j = 0; j < 2; ++j) x[static_cast<std::size_t>(row * 2 + j)] = number(row, j);
  }
  for (std::int64_t row = 0; row < kWindows; ++row) y.push_back(number(row * kWindow, 0));
  data::Hdf5Writer writer((folder / "data.h5"));
  writer.write({.name = "/x", .dtype = DType::f32, .num_rows = kWindows, .row_shape = {kWindow, 2}},
               x.data());
  writer.write({.name = "/y", .dtype = DType::f32, .num_rows = kWindows, .row_shape = {1}},
               y.data());
  writer.commit();
  JobFiles files{.config = (folder / "job.yaml"), .run_dir = (folder / "run")};
  std::ofstream(files.config) << "run: {name: stream, dir: " << files.run_dir << ", seed: 3}\n"
                              << "model: {input: [3, 2], layers: " << layers << "}\n"
                              << "loss: mse\n"
                              << "data:\n  train: {file: " << (folder / "data.h5")
                              << ", inputs: /x, targets: /y}\n"
                              << "  global_batch_size: " << kBatch << "\n  streams: true\n"
                              << "train: {epochs: 3, leaves: 4, threads: 1}\n"
                              << "optimizer: {name: adam, learning_rate: 0.02}\n"
                              << "log: {tensorboard: false}\n";
  return files;
}

const char* kModel =
    "[{lstm: {units: 4, stateful: true, return_sequences: true}}, {dropout: {rate: 0.2}}, "
    "{gru: {units: 3, stateful: true, return_sequences: true}}, "
    "{simple_rnn: {units: 3, stateful: true}}, {dense: {units: 1}}]";

checkpoint::Checkpoint newest(const JobFiles& files) { return checkpoint::load_any(files.run_dir); }

TEST(CarriedState, EqualsOneLongSequence) {
  const TempFolder folder;
  const JobFiles files =
      write_stream_job(folder, "[{lstm: {units: 4, stateful: true}}, {dense: {units: 1}}]");
  // So small a rate leaves the weights as they are.
  (void)run_job(files, {.ranks = 2,
                        .overrides = {"optimizer={name: sgd, learning_rate: 1.0e-30}",
                                      cat("train.stop_at_step=", 9 + kSteps)}});
  const checkpoint::Checkpoint saved = newest(files);
  const auto got = saved.optimizer.at("state.lstm_1.h").as<float>();
  ASSERT_EQ(got.size(), static_cast<std::size_t>(kBatch * 4));

  config::Diagnostics diagnostics;
  const config::Node node = config::parse(
      "m.yaml", cat("{input: [", kSteps * kWindow, ", 2], layers: [{lstm: {units: 4}}]}"),
      diagnostics);
  const autodiff::OpTable table = ops::make_op_table();
  const auto model = nn::Model::read(&node, node.mark, diagnostics, table);
  autodiff::Graph graph(table);
  (void)model->build_prediction(graph, kBatch);
  const auto backend = tensor::make_cpu_backend();
  const autodiff::Program program(std::move(graph), *backend);
  std::vector<float> params(static_cast<std::size_t>(program.layout().total));
  for (const auto& entry : program.layout().entries) {
    const auto values = saved.model.at(entry.name).as<float>();
    std::copy(values.begin(), values.end(), params.begin() + entry.offset);
  }
  std::vector<float> x;  // sample i of a batch walks through 9 rows from 9 i on
  for (std::int64_t i = 0; i < kBatch; ++i) {
    for (std::int64_t t = 0; t < kSteps * kWindow; ++t) {
      for (std::int64_t j = 0; j < 2; ++j) x.push_back(number(i * 9 * kWindow + t, j));
    }
  }
  autodiff::Executor executor(program, *backend, params.data());
  executor.bind_input("input", x.data());
  executor.run({}, nullptr);
  const auto* want = executor.output("prediction").as<float>();
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-6F) << i;
}

TEST(CarriedState, GivesTheSameBitsOnAnyRanksAndThreads) {
  const TempFolder folder;
  const JobFiles files = write_stream_job(folder, kModel);
  const std::string reference = run_job(files, {}).weights_hash;
  const checkpoint::Checkpoint one = newest(files);
  for (const int ranks : {2, 4}) {
    const JobRun run{.ranks = ranks, .overrides = {}, .resume = {.overwrite = true}};
    EXPECT_EQ(run_job(files, run).weights_hash, reference) << ranks;
    const checkpoint::Checkpoint many = newest(files);
    for (const char* name :
         {"state.lstm_1.h", "state.lstm_1.c", "state.gru_1.h", "state.simple_rnn_1.h"}) {
      const auto a = one.optimizer.at(name).as<float>(), b = many.optimizer.at(name).as<float>();
      EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << name << ", " << ranks;
      EXPECT_TRUE(std::any_of(a.begin(), a.end(), [](float v) { return v != 0.0F; })) << name;
    }
  }
  const JobRun threads{.overrides = {"train.threads=3"}, .resume = {.overwrite = true}};
  EXPECT_EQ(run_job(files, threads).weights_hash, reference);
}

TEST(CarriedState, GoesOnAfterAnInterruptionOnOtherRanks) {
  const TempFolder folder;
  const JobFiles files = write_stream_job(folder, kModel);
  const std::string reference = run_job(files, {}).weights_hash;
  for (const std::int64_t stop : {4, 9, 14}) {
    const std::vector<std::string> overrides{cat("train.stop_at_step=", stop)};
    (void)run_job(files, {.ranks = 4, .overrides = overrides, .resume = {.overwrite = true}});
    EXPECT_EQ(run_job(files, {.ranks = 2}).weights_hash, reference) << stop;
  }
}

TEST(CarriedState, GoesAlongWhereLeavesWaitForEachOther) {
  const TempFolder folder;
  const JobFiles files = write_stream_job(
      folder,
      "[{lstm: {units: 4, stateful: true}}, {batch_norm: {sync: true}}, {dense: {units: 1}}]");
  const std::string reference = run_job(files, {}).weights_hash;
  const auto state = newest(files).optimizer.at("state.lstm_1.h");
  const auto values = state.as<float>();
  EXPECT_TRUE(std::any_of(values.begin(), values.end(), [](float v) { return v != 0.0F; }));
  (void)run_job(
      files, {.ranks = 4, .overrides = {"train.stop_at_step=13"}, .resume = {.overwrite = true}});
  EXPECT_EQ(run_job(files, {.ranks = 2}).weights_hash, reference);
}

TEST(CarriedState, MovesWithItsLeaves) {
  const TempFolder folder;
  const JobFiles files = write_stream_job(folder, kModel);
  const std::vector<std::string> longer{"train.epochs=8"};
  const std::string reference = run_job(files, {.overrides = longer}).weights_hash;
  (void)run_job(files, {.ranks = 2,
                        .overrides = {longer[0], "comm.balance=true"},
                        .resume = {.overwrite = true},
                        .clock = [](int rank) { return make_ticking_clock(rank == 0 ? 3 : 1); }});
  EXPECT_EQ(checkpoint::load_any(files.run_dir).step, newest(files).step);
  EXPECT_NE(read_file(files.run_dir + "/events.jsonl").find("leaves_before"), std::string::npos);
  EXPECT_EQ(run_job(files, {.ranks = 2,
                            .overrides = {longer[0], "comm.balance=true"},
                            .resume = {.overwrite = true},
                            .clock = [](int rank) { return make_ticking_clock(rank + 1); }})
                .weights_hash,
            reference);
}

TEST(CarriedState, MattersToTheWeights) {
  const TempFolder folder;
  const JobFiles files = write_stream_job(folder, kModel);
  const std::string reference = run_job(files, {}).weights_hash;
  std::string forgetful = kModel;
  for (std::size_t at = 0; (at = forgetful.find("stateful: true", at)) != std::string::npos;) {
    forgetful.replace(at, 14, "stateful: false");
  }
  const JobRun run{.overrides = {cat("model.layers=", forgetful)}, .resume = {.overwrite = true}};
  EXPECT_NE(run_job(files, run).weights_hash, reference);
}

TEST(CarriedState, WantsStreams) {
  const TempFolder folder;
  const JobFiles files = write_stream_job(folder, kModel);
  const auto failure = [&](const std::string& override) {
    try {
      (void)run_job(files, {.overrides = {override}});
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::config);
      return std::string(error.what());
    }
    return std::string("no failure");
  };
  EXPECT_NE(failure("data.streams=false").find("expected true: the model carries state.lstm_1.h"),
            std::string::npos);
  EXPECT_NE(failure("data.shuffle=true").find("data.shuffle"), std::string::npos);
  EXPECT_NE(failure("data.global_batch_size=48").find("47 rows, expected at least 48"),
            std::string::npos);
}

}  // namespace
}  // namespace dlt::train_test
