// SPDX-License-Identifier: Apache-2.0
// Defects of data files and checkpoints, as a user meets them.
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/text.h"
#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

namespace fs = std::filesystem;

class BadFiles : public testing::Test {
 protected:
  /// Trains on a copy of the digits that `spoil` has changed; expects the refusal alone and on four
  /// ranks.
  void expect_refused(const std::string& yaml, const std::string& message, int exit_code) {
    const std::string config = folder_ / "c.yaml";
    test::write_file(config, replaced(yaml, "RUN_DIR", run_));
    for (const int ranks : {0, 4}) {
      const ProgramResult got = dltrain_on(ranks, {config}, {.timeout_s = 30});
      EXPECT_FALSE(got.timed_out);
      EXPECT_EQ(got.exit_code, exit_code) << got.err;
      EXPECT_TRUE(got.err.starts_with("dltrain: error: ")) << got.err;
      EXPECT_EQ(count(got.err, message), 1) << message << "\n" << got.err;
      EXPECT_EQ(got.err.find("rank 1"), std::string::npos) << got.err;
    }
  }
  std::string yaml_with_file(const std::string& path) {
    return replaced(digits_yaml(), "datasets/digits.h5", path);
  }

  test::TempFolder folder_;
  std::string run_ = folder_ / "run";
};

TEST_F(BadFiles, MissingDataIs66) {
  expect_refused(yaml_with_file("nowhere.h5"), "nowhere.h5: no such file", 66);
}

TEST_F(BadFiles, AnotherFormatIs65) {
  expect_refused(yaml_with_file("datasets/README.md"), "datasets/README.md: not an HDF5 file", 65);
}

TEST_F(BadFiles, TruncatedDataIs65) {
  const std::string path = folder_ / "cut.h5";
  test::write_file(path, read_file("datasets/digits.h5").substr(0, 50000));
  expect_refused(yaml_with_file(path), path + ": ", 65);
}

TEST_F(BadFiles, AMissingDataSetIs65WithASuggestion) {
  expect_refused(replaced(digits_yaml(), "/train/labels", "/train/lables"),
                 "datasets/digits.h5: no data set '/train/lables'; there are: /test/images, "
                 "/test/labels, /train/images, /train/labels\n"
                 "  hint: did you mean '/train/labels'?\n",
                 65);
}

TEST_F(BadFiles, ALabelOutOfRangeIsNamedWithItsRow) {
  expect_refused(replaced(digits_yaml(), "units: 10}", "units: 9}"),
                 "datasets/digits.h5: '/train/labels' row 6: label 9 is out of range, expected 0 "
                 "to 8\n",
                 65);
}

TEST_F(BadFiles, RowsOfAnotherShapeAre65) {
  expect_refused(replaced(digits_yaml(), "input: [8, 8, 1]", "input: [8, 8, 2]"),
                 "datasets/digits.h5: '/train/images': its rows have shape [8, 8, 1]", 65);
}

class BadCheckpoints : public BadFiles {
 protected:
  void SetUp() override {
    config_ = folder_ / "c.yaml";
    test::write_file(config_, replaced(digits_yaml(), "RUN_DIR", run_));
    ASSERT_EQ(dltrain({config_, "--quiet"}).exit_code, 0);
    checkpoint_ = run_ + "/checkpoints/step-000000023";
    ASSERT_TRUE(exists(checkpoint_));
  }
  void flip_bit(const std::string& path, std::size_t at) {
    std::string bytes = read_file(path);
    ASSERT_LT(at, bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    test::write_file(path, bytes);
  }
  /// Every command that reads the checkpoint says 65, and training never starts afresh silently.
  void expect_damaged() {
    for (const Words& words :
         {Words{"checkpoint", "verify", checkpoint_}, Words{"checkpoint", "hash", checkpoint_},
          Words{"eval", config_, "--checkpoint", checkpoint_},
          Words{config_, "--set", "train.epochs=2"},
          Words{config_, "--resume", checkpoint_, "--set", "train.epochs=2"}}) {
      const ProgramResult got = dltrain(words);
      EXPECT_EQ(got.exit_code, 65) << words[0] << " " << words[1] << "\n" << got.err;
      EXPECT_NE(got.err.find(checkpoint_), std::string::npos) << got.err;
    }
    EXPECT_FALSE(exists(run_ + "/checkpoints/step-000000046"));
  }

  std::string config_, checkpoint_;
};

TEST_F(BadCheckpoints, AFlippedBitAnywhereIsFound) {
  for (const char* name : {"model.safetensors", "optimizer.safetensors", "manifest.json"}) {
    const std::string path = checkpoint_ + "/" + name;
    const std::size_t size = read_file(path).size();
    for (const std::size_t at : {std::size_t{0}, size / 3, size - 2}) {
      SCOPED_TRACE(cat(name, " byte ", at));
      flip_bit(path, at);
      expect_damaged();
      flip_bit(path, at);
    }
  }
  EXPECT_EQ(dltrain({"checkpoint", "verify", checkpoint_}).exit_code, 0);
}

TEST_F(BadCheckpoints, ATruncatedFileIsFound) {
  const std::string path = checkpoint_ + "/model.safetensors";
  test::write_file(path, read_file(path).substr(0, 100));
  expect_damaged();
}

TEST_F(BadCheckpoints, AMissingFileIsFound) {
  fs::remove(checkpoint_ + "/optimizer.safetensors");
  expect_damaged();
}

TEST_F(BadCheckpoints, ASymbolicLinkIsRefused) {
  const std::string path = checkpoint_ + "/model.safetensors";
  fs::rename(path, folder_ / "elsewhere");
  fs::create_symlink(folder_ / "elsewhere", path);
  expect_damaged();
}

TEST_F(BadCheckpoints, AllRanksRefuseItOnce) {
  flip_bit(checkpoint_ + "/model.safetensors", 500);
  const ProgramResult got =
      dltrain_ranks(4, {config_, "--set", "train.epochs=2"}, {.timeout_s = 30});
  EXPECT_EQ(got.exit_code, 65) << got.err;
  EXPECT_EQ(count(got.err, "dltrain: error: "), 1) << got.err;
}

TEST_F(BadCheckpoints, AnOlderGoodOneIsTakenWithAWarning) {
  ASSERT_EQ(dltrain({config_, "--quiet", "--overwrite", "--set", "train.epochs=2", "--set",
                     "checkpoint.every_steps=23"})
                .exit_code,
            0);
  const std::string expected = summary_hash(run_);
  flip_bit(run_ + "/checkpoints/step-000000046/model.safetensors", 500);
  const ProgramResult got =
      dltrain({config_, "--set", "train.epochs=2", "--set", "checkpoint.every_steps=23"});
  EXPECT_EQ(got.exit_code, 0) << got.err;
  EXPECT_NE(got.err.find("warning: "), std::string::npos) << got.err;
  EXPECT_EQ(summary_hash(run_), expected);
}

TEST_F(BadCheckpoints, AMissingOneIs66) {
  for (const Words& words :
       {Words{"checkpoint", "list", "nowhere"}, Words{"checkpoint", "verify", "nowhere"},
        Words{"checkpoint", "hash", "nowhere"}, Words{config_, "--resume", "nowhere"},
        Words{"eval", config_, "--checkpoint", "nowhere"}}) {
    const ProgramResult got = dltrain(words);
    EXPECT_EQ(got.exit_code, 66) << words[0] << " " << words[1] << "\n" << got.err;
  }
}

TEST_F(BadCheckpoints, ACheckpointOfAnotherModelIs65) {
  const std::string other = folder_ / "other.yaml";
  test::write_file(other, replaced(read_file(config_), "units: 16", "units: 17"));
  const ProgramResult got = dltrain({"eval", other, "--checkpoint", checkpoint_});
  EXPECT_EQ(got.exit_code, 65) << got.err;
  EXPECT_NE(got.err.find("dense_1"), std::string::npos) << got.err;
}

}  // namespace
}  // namespace dlt::e2e
