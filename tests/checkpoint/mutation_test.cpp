// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fs.h"
#include "checkpoint/samples.h"
#include "checkpoint/store.h"
#include "support/faulty_fs.h"
#include "support/temp_folder.h"

namespace dlt::checkpoint::test {
namespace {

using Files = std::map<std::string, std::string>;

class Mutation : public testing::Test {
 protected:
  Mutation() {
    path_ = Store(fs_, folder_.path(), 3).commit(sample_checkpoint(42)).path;
    for (const std::string& name : list_directory(path_))
      good_[name] = read_file(path_ + "/" + name);
  }

  std::size_t below(std::size_t n) { return std::size_t{random_()} % n; }

  /// One accident: what it was.
  std::string mutate(Files& files) {
    auto it = files.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(below(files.size())));
    auto& [name, bytes] = *it;
    const std::size_t at = below(bytes.size());
    const std::string where = name + " at " + std::to_string(at);
    switch (below(9)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        return "bit flip in " + where;
      case 1:
        bytes.resize(at);
        return "cut of " + where;
      case 2:
        bytes.insert(at, 1, " \n{0\0"[below(5)]);
        return "byte put into " + where;
      case 3:
        bytes += std::string(below(600) + 1, '\0');
        return "zeros behind " + name;
      case 4: {
        auto other = std::next(it) == files.end() ? files.begin() : std::next(it);
        std::swap(bytes, other->second);
        return "swap of " + name + " and " + other->first;
      }
      case 5:
        std::swap(bytes[at], bytes[below(bytes.size())]);
        return "swap of bytes in " + where;
      case 6:
        bytes.replace(at, 512, std::string(std::min<std::size_t>(512, bytes.size() - at), '\0'));
        return "lost sector in " + where;
      case 7:
        bytes.erase(at, below(16) + 1);
        return "bytes taken out of " + where;
      default:
        files.erase(it);
        return "a file removed";
    }
  }

  dlt::test::TempFolder folder_;
  dlt::test::FaultyFs fs_;
  std::string path_;
  Files good_;
  unsigned seed_ = std::random_device{}();
  std::mt19937 random_{seed_};
};

TEST_F(Mutation, IsFoundWhateverItIs) {
  ASSERT_EQ(good_.size(), 3u);
  for (int i = 0; i < 1000;) {
    Files files = good_;
    const std::string what = mutate(files);
    if (files == good_) continue;  // two equal bytes were swapped
    ++i;
    for (const auto& [name, bytes] : good_) {
      if (!files.contains(name)) {
        std::filesystem::remove(path_ + "/" + name);
      } else if (files[name] != bytes) {
        dlt::test::write_file(path_ + "/" + name, files[name]);
      }
    }
    EXPECT_THAT(dlt::test::error_of([&] { (void)load(path_); }),
                testing::StartsWith("65: " + path_))
        << what << "; seed " << seed_ << ", case " << i;
    for (const auto& [name, bytes] : good_) dlt::test::write_file(path_ + "/" + name, bytes);
  }
  EXPECT_EQ(difference(load(path_), sample_checkpoint(42)), "");
}

/// The newest of two is damaged, also by files of the other: the one before is used, and the damage
/// is named.
TEST_F(Mutation, OfTheNewestCostsItAlone) {
  Store store(fs_, folder_.path(), 3);
  const std::string newest = store.commit(sample_checkpoint(43)).path;
  Files newer;
  for (const std::string& name : list_directory(newest))
    newer[name] = read_file(newest + "/" + name);
  int found = 0;
  for (int i = 0; found < 300; ++i) {
    Files files = newer;
    std::string what = "a file of the checkpoint before";
    if (i % 10 == 0) {
      auto it = files.begin();
      std::advance(it, static_cast<std::ptrdiff_t>(below(files.size())));
      it->second = good_[it->first];
    } else {
      what = mutate(files);
    }
    if (files == newer) continue;
    for (const auto& [name, bytes] : newer) {
      if (!files.contains(name)) {
        std::filesystem::remove(newest + "/" + name);
      } else {
        dlt::test::write_file(newest + "/" + name, files[name]);
      }
    }
    std::vector<std::string> problems;
    const auto used = store.load_newest(problems);
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(difference(*used, sample_checkpoint(42)), "")
        << what << "; seed " << seed_ << ", case " << i;
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_THAT(problems[0], testing::StartsWith(newest));
    ++found;
    for (const auto& [name, bytes] : newer) dlt::test::write_file(newest + "/" + name, bytes);
  }
}

}  // namespace
}  // namespace dlt::checkpoint::test
