// SPDX-License-Identifier: Apache-2.0
// Small HDF5 files for the tests, good and bad, and a folder that goes away again.
#pragma once

#include <filesystem>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "data/dataset.h"

namespace dlt::data::testing {

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "dltrain-data-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// Makes a file and hands its id to fill().
inline void make_h5(const std::string& path, const std::function<void(hid_t)>& fill) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  fill(file);
  ASSERT_GE(H5Fclose(file), 0);
}

/// A data set; rows may be null (nothing is written).
inline void put(hid_t file, const std::string& name, hid_t type, const std::vector<hsize_t>& dims,
                const void* rows, hid_t memory_type = -1, hid_t plist = H5P_DEFAULT) {
  const hid_t space = H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr);
  const hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  const hid_t set = H5Dcreate2(file, name.c_str(), type, space, links, plist, H5P_DEFAULT);
  ASSERT_GE(set, 0) << name;
  if (rows != nullptr) {
    ASSERT_GE(
        H5Dwrite(set, memory_type < 0 ? type : memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows),
        0);
  }
  H5Dclose(set);
  H5Pclose(links);
  H5Sclose(space);
}

inline void put_f32(hid_t file, const std::string& name, const std::vector<hsize_t>& dims,
                    const std::vector<float>& rows) {
  put(file, name, H5T_IEEE_F32LE, dims, rows.data(), H5T_NATIVE_FLOAT);
}

/// [rows, width]: element i is i.
inline std::vector<float> ramp(std::size_t count) {
  std::vector<float> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(i);
  return out;
}

inline DatasetOptions inputs_only(const std::string& file) {
  DatasetOptions options;
  options.file = file;
  options.inputs = "/x";
  return options;
}

inline DatasetOptions with_labels(const std::string& file, std::int64_t num_classes) {
  DatasetOptions options = inputs_only(file);
  options.targets = "/y";
  options.target_kind = TargetKind::labels;
  options.num_classes = num_classes;
  return options;
}

inline std::vector<float> read_inputs(const Dataset& dataset,
                                      const std::vector<std::int64_t>& rows) {
  std::vector<float> out(rows.size() * static_cast<std::size_t>(dataset.input_shape().numel()));
  dataset.read(rows, out.data(), nullptr);
  return out;
}

inline std::vector<std::int64_t> all_rows(const Dataset& dataset) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(dataset.num_rows()));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

/// The message and exit code of what f throws.
struct Caught {
  Exit exit = Exit::ok;
  std::string text;
  std::string hint;
};
template <typename F>
Caught caught(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return {error.exit(), error.what(), error.hint()};
  }
  return {};
}

}  // namespace dlt::data::testing

#define EXPECT_REFUSED(expression, code, ...)                                          \
  do {                                                                                 \
    const auto refused = ::dlt::data::testing::caught([&] { (void)(expression); });    \
    EXPECT_EQ(static_cast<int>(refused.exit), static_cast<int>(code)) << refused.text; \
    EXPECT_THAT(refused.text + "\n" + refused.hint, ::testing::AllOf(__VA_ARGS__));    \
  } while (false)
