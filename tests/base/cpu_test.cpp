// SPDX-License-Identifier: Apache-2.0
#include "base/cpu.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace dlt {
namespace {

/// The words of the first line of /proc/cpuinfo that starts with field.
std::vector<std::string> cpuinfo(const std::string& field) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(field, 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    return {std::istream_iterator<std::string>(words), {}};
  }
  return {};
}

TEST(Cpu, FeaturesAgreeWithTheKernel) {
  const std::vector<std::string> flags = cpuinfo("flags");
  if (flags.empty()) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  const auto has = [&](const char* flag) {
    return std::find(flags.begin(), flags.end(), flag) != flags.end();
  };
  const CpuFeatures features = cpu_features();
  EXPECT_EQ(features.avx2, has("avx2"));
  EXPECT_EQ(features.fma, has("fma"));
  EXPECT_EQ(features.f16c, has("f16c"));
  EXPECT_EQ(features.avx512, has("avx512f") && has("avx512bw") && has("avx512cd") &&
                                 has("avx512dq") && has("avx512vl"));
  EXPECT_EQ(features.avx512_bf16, features.avx512 && has("avx512_bf16"));
  EXPECT_EQ(features.amx_bf16, has("amx_bf16") && has("amx_tile"));
}

TEST(Cpu, ModelIsTheBrandString) {
  const std::vector<std::string> words = cpuinfo("model name");
  if (words.empty() || words[0] == "unknown") GTEST_SKIP() << "no model name in /proc/cpuinfo";
  EXPECT_THAT(cpu_features().model, testing::StartsWith(words[0]));
}

TEST(Cpu, AllowedCoresAreAscendingAndAsManyAsTheStandardLibrarySees) {
  const std::vector<int> cores = allowed_cores();
  ASSERT_FALSE(cores.empty());
  EXPECT_TRUE(std::is_sorted(cores.begin(), cores.end()));
  EXPECT_EQ(std::adjacent_find(cores.begin(), cores.end()), cores.end());
  EXPECT_EQ(cores.size(), std::thread::hardware_concurrency());
  EXPECT_GE(online_cores(), static_cast<int>(cores.size()));
}

TEST(Cpu, PeakMemoryGrowsWithWhatIsTouched) {
  const long long before = peak_rss_bytes();
  ASSERT_GT(before, 1 << 20);
  constexpr std::size_t kBytes = std::size_t{64} << 20;
  const auto block = std::make_unique<unsigned char[]>(kBytes);
  volatile unsigned char* touched = block.get();
  for (std::size_t i = 0; i < kBytes; i += 4096) touched[i] = 1;
  EXPECT_GE(peak_rss_bytes(), before + static_cast<long long>(kBytes) / 2);
}

TEST(Cpu, ProcessorTimePassesWhileAThreadWorks) {
  const double before = process_cpu_s();
  std::thread worker([&] {
    while (process_cpu_s() < before + 1e-3) {
    }
  });
  worker.join();
  EXPECT_GE(process_cpu_s(), before + 1e-3);
}

class NumaNodes : public testing::Test {
 protected:
  NumaNodes() {
    std::filesystem::create_directories(folder_ / "power");
    for (const auto& [name, cores] :
         {std::pair{"node0", "0-3,8-9"}, std::pair{"node1", "4-7,10"}, std::pair{"node2", ""}}) {
      const std::filesystem::path node = folder_ / name;
      std::filesystem::create_directories(node);
      std::ofstream(node / "cpulist") << cores << "\n";
    }
  }
  [[nodiscard]] int node_of(const std::vector<int>& cores) const {
    return numa_node_of(cores, folder_.path());
  }
  test::TempFolder folder_;
};

TEST_F(NumaNodes, AreThoseThatHoldAllCores) {
  EXPECT_EQ(node_of({0, 9}), 0);
  EXPECT_EQ(node_of({5, 10}), 1);
}

TEST_F(NumaNodes, AreNotKnownForCoresOfSeveralOrOfNone) {
  EXPECT_EQ(node_of({3, 4}), -1);
  EXPECT_EQ(node_of({11}), -1);
  EXPECT_EQ(node_of({}), -1);
  EXPECT_EQ(numa_node_of({0}, folder_ / "nothing here"), -1);
}

}  // namespace
}  // namespace dlt
