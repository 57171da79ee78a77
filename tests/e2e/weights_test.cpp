// SPDX-License-Identifier: Apache-2.0
// Weights out of a checkpoint, into another run, and held still there.
#include <string>

#include <gmock/gmock.h>

#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/store.h"
#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

using testing::HasSubstr;

/// One run of the digits, trained once for all tests.
class Weights : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new test::TempFolder();
    test::write_file(config(), replaced(digits_yaml(), "RUN_DIR", run()));
    ASSERT_EQ(dltrain({config()}).exit_code, 0);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string path(std::string_view name) { return *folder_ / name; }
  static std::string config() { return path("c.yaml"); }
  static std::string run() { return path("run"); }
  static std::string set_dir(const std::string& name) { return "run.dir=" + path(name); }

  static test::TempFolder* folder_;
};
test::TempFolder* Weights::folder_ = nullptr;

TEST_F(Weights, ExportAndInitGiveTheSameBitsInEveryFormat) {
  const tensor::StateDict model = checkpoint::load_any(run()).model;
  const std::string hash = checkpoint::weights_hash(model);
  for (const char* format : {"safetensors", "npz", "hdf5", "onnx"}) {
    SCOPED_TRACE(format);
    const std::string file = path(cat("weights.", format));
    const ProgramResult got = dltrain({"export", run(), "--format", format, "--output", file});
    ASSERT_EQ(got.exit_code, 0) << got.err;
    EXPECT_THAT(got.out, HasSubstr("4 parameters of step 23")) << got.out;
    EXPECT_THAT(got.out, HasSubstr(hash));
    if (format == std::string("onnx")) continue;
    const std::string dir = path(cat("from-", format));
    // Frozen whole, a run ends with the weights that it began with.
    const ProgramResult next = dltrain(
        {config(), "--set", "run.dir=" + dir, "--init-from", file, "--set", "train.freeze=['*']"});
    ASSERT_EQ(next.exit_code, 0) << next.err;
    EXPECT_THAT(next.err, HasSubstr(cat("init: 4 of 4 parameters from ", file)));
    EXPECT_EQ(summary_hash(dir), hash);
    EXPECT_EQ(json_value(read_file(dir + "/manifest.json"), "init_weights_hash"), hash);
  }
}

TEST_F(Weights, ExportKeepsAFileThatIsThere) {
  const std::string file = path("there.npz");
  test::write_file(file, "mine");
  const Words words{"export", run(), "--format", "npz", "--output", file};
  const ProgramResult got = dltrain(words);
  EXPECT_EQ(got.exit_code, 64);
  EXPECT_THAT(got.err, HasSubstr("--force replaces it"));
  EXPECT_EQ(read_file(file), "mine");
  Words forced = words;
  forced.emplace_back("--force");
  EXPECT_EQ(dltrain(forced).exit_code, 0);
  EXPECT_TRUE(read_file(file).starts_with("PK"));
}

TEST_F(Weights, ExportThatCannotBeWrittenIs74) {
  for (const char* format : {"safetensors", "npz", "hdf5", "onnx"}) {
    const ProgramResult got =
        dltrain({"export", run(), "--format", format, "--output", path("none/x")});
    EXPECT_EQ(got.exit_code, 74) << got.err;
  }
}

TEST_F(Weights, AnAverageIsExportedByItsName) {
  const Words words{"export",   run(),         "--format",  "npz",
                    "--output", path("x.npz"), "--average", "ema"};
  const ProgramResult none = dltrain(words);
  EXPECT_EQ(none.exit_code, 65);
  EXPECT_THAT(none.err, HasSubstr("expected the average 'ema' of the weights, got none"));
  const std::string dir = path("averaged");
  ASSERT_EQ(
      dltrain({config(), "--set", "run.dir=" + dir, "--set", "train.ema={decay: 0.5}"}).exit_code,
      0);
  const ProgramResult got = dltrain({"export", dir, "--format", "npz", "--output", path("ema.npz"),
                                     "--average", "ema", "--optimizer"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr("4 parameters of step 23, 12 tensors of the optimiser"));
  EXPECT_EQ(got.out.find(summary_hash(dir)), std::string::npos);
  // Its names are the parameters', so that a run can begin with it.
  EXPECT_EQ(
      dltrain({config(), "--set", set_dir("from-ema"), "--init-from", path("ema.npz")}).exit_code,
      0);
}

TEST_F(Weights, FrozenParametersStayAndTheOthersMove) {
  const std::string dir = path("frozen");
  const Words words{config(),
                    "--set",
                    "run.dir=" + dir,
                    "--init-from",
                    run(),
                    "--set",
                    "train.freeze=['dense_1.*']",
                    "--set",
                    "optimizer.learning_rate=0.1"};
  ASSERT_EQ(dltrain(words).exit_code, 0);
  const checkpoint::Checkpoint before = checkpoint::load_any(run()),
                               after = checkpoint::load_any(dir);
  const auto same = [&](const std::string& name) {
    const auto a = before.model.at(name).byte_span(), b = after.model.at(name).byte_span();
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  };
  EXPECT_TRUE(same("dense_1.weight") && same("dense_1.bias"));
  EXPECT_FALSE(same("dense_2.weight"));
  for (const float x : after.optimizer.at("m.dense_1.weight").as<float>()) ASSERT_EQ(x, 0.0f);
  // The same command says that it is done; what it began with is no longer needed.
  const ProgramResult again = dltrain(words);
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("finished already"));
  const ProgramResult check = dltrain({"check", config(), "--set", "train.freeze=['dense_1.*']"});
  EXPECT_THAT(check.out, HasSubstr("1,210, 1,040 of them frozen"));
}

TEST_F(Weights, ANewHeadStartsAnewOnlyIfAllowed) {
  const std::string text =
      replaced(replaced(digits_yaml(), "RUN_DIR", path("head")), "{units: 10}", "{units: 12}");
  const std::string other = path("head.yaml");
  test::write_file(other, text);
  const ProgramResult refused = dltrain({other, "--init-from", run()});
  EXPECT_EQ(refused.exit_code, 65);
  EXPECT_THAT(refused.err,
              HasSubstr("expected all 4 parameters, got 2 that fit; dense_2.weight: expected [16, "
                        "12], got f32[16, 10]; dense_2.bias: expected [12]"));
  for (const int ranks : {0, 2}) {
    const ProgramResult got =
        dltrain_on(ranks, {other, "--init-from", run(), "--init-partial", "--overwrite"});
    EXPECT_EQ(got.exit_code, 0) << got.err;
    EXPECT_EQ(count(got.err, "init: another shape, starts anew: dense_2.weight"), 1) << got.err;
  }
}

TEST_F(Weights, NamesAreMapped) {
  const std::string text = replaced(replaced(digits_yaml(), "RUN_DIR", path("named")),
                                    "{units: 10}", "{units: 10, name: head}");
  const std::string other = path("named.yaml");
  test::write_file(other, text);
  const ProgramResult got = dltrain({other, "--init-from", run(), "--init-map", "dense_2=head"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_THAT(got.err, HasSubstr("init: 4 of 4 parameters"));
}

TEST_F(Weights, BadSourcesAreToldBeforeAnythingIsWritten) {
  test::write_file(path("bad.npz"), "PK and no more");
  for (const auto& [file, code] : {std::pair{path("bad.npz"), 65}, {path("nowhere.h5"), 66}}) {
    const ProgramResult got = dltrain({config(), "--set", set_dir("unmade"), "--init-from", file});
    EXPECT_EQ(got.exit_code, code) << got.err;
    EXPECT_THAT(got.err, HasSubstr(file));
    EXPECT_FALSE(exists(path("unmade")));
  }
  const ProgramResult got =
      dltrain({config(), "--set", set_dir("unmade"), "--set", "train.freeze=[conv*]"});
  EXPECT_EQ(got.exit_code, 78);
  EXPECT_THAT(got.err,
              HasSubstr("train.freeze: expected a pattern that matches a parameter, got 'conv*'"));
  EXPECT_THAT(got.err, HasSubstr("parameters: dense_1.weight"));
}

TEST_F(Weights, DiffSaysWhatPartsTwoCheckpoints) {
  EXPECT_EQ(dltrain({"checkpoint", "diff", run(), run()}).exit_code, 0);
  const std::string dir = path("other");
  ASSERT_EQ(dltrain({config(), "--set", "run.dir=" + dir, "--set", "run.seed=2"}).exit_code, 0);
  const ProgramResult got = dltrain({"checkpoint", "diff", run(), dir});
  EXPECT_EQ(got.exit_code, 65);
  EXPECT_THAT(got.out, HasSubstr("config: run.seed: 1 and 2\n"));
  EXPECT_THAT(got.out,
              HasSubstr("model: dense_1.weight: 1024 of 1024 elements differ, first at [0, 0]"));
  EXPECT_EQ(dltrain({"checkpoint", "diff", run(), path("nowhere")}).exit_code, 66);
}

}  // namespace
}  // namespace dlt::e2e
