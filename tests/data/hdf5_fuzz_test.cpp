// SPDX-License-Identifier: Apache-2.0
// A damaged file either opens or is refused with an Error: never a crash, never a hang.
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>

#include <gtest/gtest.h>

#include "data/dataset.h"
#include "data/h5_files.h"
#include "data/info.h"
#include "data/writer.h"

// The HDF5 library itself leaks a little on damaged files; what we allocate is still checked.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

namespace dlt::data {
namespace {

using testing::TempDir;

std::string small_file(const TempDir& dir) {
  const std::string path = dir.file("good.h5");
  Hdf5Writer writer(path);
  const std::vector<float> rows = testing::ramp(64);
  const std::vector<std::uint8_t> labels(32, 1);
  writer.write({.name = "/x", .num_rows = 32, .row_shape = {2}, .deflate_level = 4}, rows.data());
  writer.write({.name = "/plain", .num_rows = 32, .row_shape = {2}}, rows.data());
  writer.write({.name = "/y", .dtype = DType::u8, .num_rows = 32}, labels.data());
  writer.commit();
  std::ifstream file(path, std::ios::binary);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

void open_all(const std::string& path) {
  for (const char* inputs : {"/x", "/plain"}) {
    for (const std::int64_t cache_bytes : {0, 1 << 20}) {
      DatasetOptions options;
      options.file = path;
      options.inputs = inputs;
      options.targets = "/y";
      options.target_kind = TargetKind::labels;
      options.num_classes = 10;
      options.input_shape = tensor::Shape{2};
      options.cache_bytes = cache_bytes;
      try {
        const auto dataset = open_hdf5(options);
        std::vector<float> out(4);
        std::vector<std::int32_t> labels(2);
        const std::vector<std::int64_t> some = {0, dataset->num_rows() - 1};
        dataset->read(some, out.data(), labels.data());
      } catch (const Error& error) {
        EXPECT_EQ(static_cast<int>(error.exit()), static_cast<int>(Exit::data)) << error.what();
      }
    }
  }
  try {
    (void)describe(path);
  } catch (const Error&) {
  }
}

std::string damaged(const std::string& good, std::mt19937_64& random) {
  std::string bytes = good;
  if (random() % 8 == 0) bytes.resize(random() % bytes.size());
  const int flips = 1 + static_cast<int>(random() % 6);
  for (int i = 0; i < flips && !bytes.empty(); ++i) {
    char& byte = bytes[random() % bytes.size()];
    switch (random() % 4) {
      case 0:
        byte = static_cast<char>(random());
        break;
      case 1:
        byte = static_cast<char>(byte ^ (1 << (random() % 8)));
        break;
      case 2:
        byte = '\xFF';
        break;
      default:
        byte = 0;
    }
  }
  return bytes;
}

TEST(Hdf5Fuzz, DamagedFilesOpenOrAreRefused) {
  const TempDir dir;
  const std::string good = small_file(dir);
  // DLTRAIN_FUZZ_SEED and DLTRAIN_FUZZ_ROUNDS repeat or lengthen a search.
  const char* const wanted = std::getenv("DLTRAIN_FUZZ_SEED");
  const char* const wanted_rounds = std::getenv("DLTRAIN_FUZZ_ROUNDS");
  const auto seed = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : std::random_device{}();
  const int rounds = wanted_rounds != nullptr ? std::atoi(wanted_rounds) : 300;
  std::cout << "seed " << seed << std::endl;
  for (int round = 0; round < rounds; ++round) {
    std::mt19937_64 random(seed + static_cast<unsigned>(round));
    const std::string path = dir.file("bad.h5");
    {
      std::ofstream file(path, std::ios::binary);
      file << damaged(good, random);
    }
    SCOPED_TRACE(::testing::Message()
                 << "DLTRAIN_FUZZ_SEED=" << seed + static_cast<unsigned>(round));
    open_all(path);
  }
}

}  // namespace
}  // namespace dlt::data
