// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/error.h"
#include "data/dataset.h"

namespace dlt::import_::testing {

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "dltrain-import-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// Writes a file and returns its path.
  [[nodiscard]] std::string put(const std::string& name, const std::string& bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }
  [[nodiscard]] std::string put_gz(const std::string& name, const std::string& bytes) const {
    gzFile out = gzopen(file(name).c_str(), "wb");
    gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(out);
    return file(name);
  }
  [[nodiscard]] std::size_t num_files() const {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(path_)) ++count;
    return count;
  }

 private:
  std::string path_;
};

/// Everything in a data set of numbers, through the reader that training uses.
struct Table {
  std::int64_t rows = 0;
  tensor::Shape shape;
  std::vector<float> numbers;
};
inline Table read_table(const std::string& file, const std::string& name) {
  data::DatasetOptions options;
  options.file = file;
  options.inputs = name;
  const auto dataset = data::open_hdf5(options);
  Table out{dataset->num_rows(), dataset->input_shape(), {}};
  std::vector<std::int64_t> rows(static_cast<std::size_t>(out.rows));
  std::iota(rows.begin(), rows.end(), 0);
  out.numbers.resize(rows.size() * static_cast<std::size_t>(out.shape.numel()));
  dataset->read(rows, out.numbers.data(), nullptr);
  return out;
}

struct Caught {
  Exit exit = Exit::ok;
  std::string text;
};
template <typename F>
Caught caught(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return {error.exit(), std::string(error.what()) + "\n" + error.hint()};
  }
  return {};
}

}  // namespace dlt::import_::testing

#define EXPECT_REFUSED(expression, code, ...)                                          \
  do {                                                                                 \
    const auto refused = ::dlt::import_::testing::caught([&] { (void)(expression); }); \
    EXPECT_EQ(static_cast<int>(refused.exit), static_cast<int>(code)) << refused.text; \
    EXPECT_THAT(refused.text, ::testing::AllOf(__VA_ARGS__));                          \
  } while (false)
