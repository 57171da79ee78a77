// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "config/node.h"

namespace dlt::config {
namespace {

class LoadTest : public testing::Test {
 protected:
  LoadTest() {
    std::string pattern = testing::TempDir() + "dltrain_config_XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ + "/c.yaml";
  }
  ~LoadTest() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

  /// "78: message" of what load throws, or the diagnostics.
  [[nodiscard]] static std::string outcome(const std::string& path) {
    Diagnostics diagnostics;
    try {
      (void)load(path, {}, diagnostics);
    } catch (const Error& error) {
      return std::to_string(static_cast<int>(error.exit())) + ": " + error.what();
    }
    return diagnostics.text();
  }

  std::string folder_, path_;
};

TEST_F(LoadTest, ReadsAFileAndAppliesOverrides) {
  write("run: {name: a}\n");
  Diagnostics diagnostics;
  const Node root = load(path_, {"run.name=b", "train.epochs=5"}, diagnostics);
  EXPECT_TRUE(diagnostics.ok()) << diagnostics.text();
  EXPECT_EQ(root.find("run")->find("name")->scalar, "b");
  EXPECT_EQ(root.find("train")->find("epochs")->scalar, "5");
}

TEST_F(LoadTest, AMissingFileIsMissing) {
  EXPECT_EQ(outcome(folder_ + "/no.yaml"), "66: " + folder_ + "/no.yaml: no such file");
}

TEST_F(LoadTest, OnlyRegularFilesAreConfigs) {
  const std::string fifo = folder_ + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path :
       {fifo, folder_, std::string("/dev/zero"), std::string("/dev/null")}) {
    EXPECT_EQ(outcome(path), "78: " + path + ": not a regular file");
  }
}

TEST_F(LoadTest, AMebibyteIsTheLimit) {
  std::string text = "a: 1\n# ";
  text.resize(1 << 20, 'x');
  write(text);
  EXPECT_EQ(outcome(path_), "");
  write(text + "x");
  EXPECT_EQ(outcome(path_), "78: " + path_ + ": larger than the 1048576 bytes allowed here");
  write(std::string(2 << 20, 'x'));
  EXPECT_EQ(outcome(path_), "78: " + path_ + ": larger than the 1048576 bytes allowed here");
}

TEST_F(LoadTest, OnlyUtf8IsRead) {
  write("a: 1\nb: gr\xfc\xdf\n");
  EXPECT_EQ(outcome(path_), "78: " + path_ +
                                ":2:6: error: expected UTF-8, got the byte '\\xfc'\n"
                                "  2 | b: gr\\xfc\\xdf\n    |      ^~~~\n");
  write(
      std::string("\xff\xfe"
                  "a\0:\0 \0001\0",
                  10));  // UTF-16
  EXPECT_THAT(outcome(path_), testing::StartsWith("78: "));
}

TEST_F(LoadTest, AnEmptyFileIsAMistake) {
  write("");
  EXPECT_EQ(outcome(path_), path_ +
                                ":1:1: error: expected a map of keys and values, got an empty "
                                "file\n  1 | \n    | ^\n");
}

TEST_F(LoadTest, MistakesOfFileAndOverridesComeTogether) {
  write("a: 1\na: 2\n");
  Diagnostics diagnostics;
  (void)load(path_, {"b", "a.x=1"}, diagnostics);
  EXPECT_EQ(diagnostics.text(),
            path_ + ":2:1: error: a: duplicate key, the first is at " + path_ +
                ":1:1\n  2 | a: 2\n    | ^\n"
                "--set:1:1: error: expected KEY.KEY=VALUE, got 'b'\n"
                "--set:1:1: error: a: expected a map with the key 'x', got '1'\n");
}

}  // namespace
}  // namespace dlt::config
