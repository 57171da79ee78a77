// SPDX-License-Identifier: Apache-2.0
// Checkpoints that several processes write, each with an Fs of its own that may break.
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "checkpoint/samples.h"
#include "checkpoint/store.h"
#include "support/faulty_fs.h"
#include "support/temp_folder.h"

namespace dlt::checkpoint::test {
namespace {

using dlt::test::error_of;
using dlt::test::FaultyFs;
using dlt::test::Stopped;
using dlt::test::TempFolder;
using testing::HasSubstr;

/// A checkpoint cut into shares: stretch i is writer i mod n's.
class Shares {
 public:
  Shares(Checkpoint checkpoint_of, int num_writers)
      : checkpoint_(std::move(checkpoint_of)), shares_(static_cast<std::size_t>(num_writers)) {
    const Checkpoint& checkpoint = checkpoint_;
    const Metadata metadata = file_metadata(checkpoint.step);
    files_[0] = encode(checkpoint.model, metadata);
    files_[1] = encode(checkpoint.optimizer, metadata);
    std::size_t turn = 0;
    for (std::size_t file = 0; file < files_.size(); ++file) {
      files_[file].pieces[0] = std::as_bytes(std::span(files_[file].header));
      std::int64_t at = 0;
      for (const auto& piece : files_[file].pieces) {
        const Extent extent{.file = static_cast<int>(file),
                            .offset = at,
                            .num_bytes = static_cast<std::int64_t>(piece.size())};
        at += extent.num_bytes;
        draft_.extents.push_back(extent);
        shares_[turn++ % shares_.size()].push_back({.at = extent, .data = piece.data()});
        draft_.checksum += checkpoint::checksum(Stretch{.at = extent, .data = piece.data()});
      }
      draft_.num_bytes[file] = at;
    }
    draft_.model_header = files_[0].header;
    draft_.manifest.step = checkpoint.step;
    draft_.manifest.epoch = checkpoint.epoch;
    draft_.manifest.epoch_samples = checkpoint.epoch_samples;
    draft_.manifest.leaves = checkpoint.leaves;
    draft_.manifest.config_fingerprint = checkpoint.config_fingerprint;
    draft_.manifest.config_yaml = checkpoint.config_yaml;
  }
  [[nodiscard]] const std::vector<Stretch>& of(std::size_t writer) const { return shares_[writer]; }
  [[nodiscard]] Draft& draft() { return draft_; }

 private:
  Checkpoint checkpoint_;
  std::array<Encoded, 2> files_;
  std::vector<std::vector<Stretch>> shares_;
  Draft draft_;
};

class SharedStore : public testing::Test {
 protected:
  Store store(Fs& fs, std::int64_t generation = 0) {
    return {fs, directory_, StoreOptions{.retention = {.keep = 2}, .generation = generation}};
  }
  TempFolder folder_;
  std::string directory_ = folder_ / "checkpoints";
  FaultyFs fs_;
};

TEST_F(SharedStore, SharesOfAnyNumberOfWritersAreTheSameFiles) {
  const Checkpoint sample = sample_checkpoint(7);
  FaultyFs plain;
  const std::string alone = folder_ / "alone";
  Store(plain, alone, 1).commit(sample);
  for (const int writers : {1, 2, 3, 5}) {
    Shares shares(sample, writers);
    {
      std::vector<std::jthread> threads;
      for (int w = 0; w < writers; ++w) {
        threads.emplace_back([&, w] {
          SystemFs fs;
          store(fs).write_share(7, shares.of(static_cast<std::size_t>(w)));
        });
      }
    }
    SystemFs fs;
    const CommitResult result = store(fs).publish(shares.draft());
    EXPECT_EQ(difference(load(result.path), sample), "") << writers;
    for (const char* file : kFiles) {
      EXPECT_EQ(read_file(result.path + "/" + file), read_file(alone + "/step-000000007/" + file));
    }
    std::filesystem::remove_all(directory_);
  }
}

TEST_F(SharedStore, AShareThatIsMissingOrDamagedIsFoundBeforeAnythingIsPublished) {
  store(fs_).commit(sample_checkpoint(1));
  for (const bool missing : {true, false}) {
    Shares shares(sample_checkpoint(2), 2);
    store(fs_).write_share(2, shares.of(0));
    if (!missing) {
      store(fs_).write_share(2, shares.of(1));
      const std::string path = directory_ + "/.tmp-step-000000002/model.safetensors";
      std::string bytes = read_file(path);
      bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 1);
      dlt::test::write_file(path, bytes);
    }
    EXPECT_THAT(error_of([&] { (void)store(fs_).publish(shares.draft()); }),
                testing::AllOf(testing::StartsWith("74: "), HasSubstr("read back")))
        << missing;
    EXPECT_THAT(list_directory(directory_), testing::ElementsAre("step-000000001"));
  }
}

TEST_F(SharedStore, AFenceKeepsAnOldGenerationFromPublishing) {
  store(fs_).commit(sample_checkpoint(1));
  Shares shares(sample_checkpoint(2), 1);
  Store fenced(fs_, directory_, StoreOptions{.fence = [] {
                 throw Error(Exit::peer_lost, "generation 2 of this run has started");
               }});
  fenced.write_share(2, shares.of(0));
  EXPECT_THAT(error_of([&] { (void)fenced.publish(shares.draft()); }), HasSubstr("generation 2"));
  EXPECT_THAT(list_directory(directory_), testing::ElementsAre("step-000000001"));
}

TEST_F(SharedStore, GenerationsWriteUnderNamesOfTheirOwn) {
  Shares old(sample_checkpoint(2, 1), 1), now(sample_checkpoint(2), 1);
  store(fs_, 3).write_share(2, now.of(0));
  store(fs_, 2).write_share(2, old.of(0));  // a rank of generation 2 that is not dead yet
  const CommitResult result = store(fs_, 3).publish(now.draft());
  EXPECT_EQ(difference(load(result.path), sample_checkpoint(2)), "");
  EXPECT_THAT(list_directory(directory_), testing::ElementsAre("step-000000002"));
}

TEST_F(SharedStore, TheBestOneIsWrittenDownAndStays) {
  for (const std::int64_t step : {1, 2, 3, 4, 5}) {
    Shares shares(sample_checkpoint(step), 1);
    if (step == 2) shares.draft().best = Best{.step = 2, .metric = "accuracy", .value = 0.5};
    store(fs_).write_share(step, shares.of(0));
    (void)store(fs_).publish(shares.draft());
  }
  EXPECT_THAT(store(fs_).steps(), testing::ElementsAre(2, 4, 5));
  const std::vector<Summary> summaries = list(directory_);
  EXPECT_EQ(summaries[0].best, "accuracy 0.5");
  EXPECT_EQ(summaries[1].best, "");
}

class SharedCrash : public testing::TestWithParam<FaultyFs::Mode> {};

/// Each of three writers breaks at each of its calls: what was there stays, or the new one is
/// there.
TEST_P(SharedCrash, LeavesTheOldOrTheNewCheckpointAtEveryCallOfEveryWriter) {
  const Checkpoint one = sample_checkpoint(1), two = sample_checkpoint(2);
  int num_points = 0;
  for (std::size_t breaking = 0; breaking < 3; ++breaking) {
    bool broke = true;
    for (std::int64_t k = 0; broke; ++k) {
      SCOPED_TRACE(testing::Message() << "writer " << breaking << ", call " << k);
      const TempFolder folder;
      const std::string directory = folder / "checkpoints";
      FaultyFs fine, faulty(GetParam(), k);
      Store(fine, directory, 1).commit(one);
      Shares shares(two, 3);
      bool written = true;
      const auto with = [&](std::size_t writer, const auto& use) {
        Store store(writer == breaking ? static_cast<Fs&>(faulty) : fine, directory, 1);
        try {
          use(store);
        } catch (const Error& error) {
          EXPECT_EQ(error.exit(), Exit::io);
          written = false;
        } catch (const Stopped&) {
          written = false;
        }
      };
      with(0, [](Store& store) { store.begin(2, 1000); });
      for (std::size_t w = 0; w < 3; ++w) {
        with(w, [&](Store& store) { store.write_share(2, shares.of(w)); });
      }
      if (written) with(0, [&](Store& store) { (void)store.publish(shares.draft()); });
      broke = faulty.broke();
      num_points += broke ? 1 : 0;
      std::vector<std::string> problems;
      const auto found = Store(fine, directory, 1).load_newest(problems);
      ASSERT_TRUE(found.has_value());
      EXPECT_THAT(problems, testing::IsEmpty());
      EXPECT_TRUE(difference(*found, one).empty() || difference(*found, two).empty());
      EXPECT_TRUE(broke || found->step == 2);
      Store(fine, directory, 1).commit(sample_checkpoint(10));
      EXPECT_THAT(list_directory(directory), testing::ElementsAre("step-000000010"));
    }
  }
  EXPECT_GE(num_points, 15);
}

INSTANTIATE_TEST_SUITE_P(Modes, SharedCrash,
                         testing::Values(FaultyFs::Mode::fail_once, FaultyFs::Mode::fail_always,
                                         FaultyFs::Mode::stop),
                         [](const auto& mode) -> std::string {
                           if (mode.param == FaultyFs::Mode::fail_once) return "FailOnce";
                           return mode.param == FaultyFs::Mode::stop ? "Stop" : "FailAlways";
                         });

}  // namespace
}  // namespace dlt::checkpoint::test
