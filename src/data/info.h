// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dlt::data {

/// One data set of a file, for people.
struct DatasetInfo {
  std::string path;                  // "/train/images"
  std::vector<std::int64_t> shape;   // rows first
  std::string type;                  // "u8", "f32 big-endian", "compound of 3 fields"
  std::string layout;                // "contiguous", "compact", "chunked", "virtual"
  std::vector<std::int64_t> chunk;   // chunked only
  std::vector<std::string> filters;  // in the order of writing: "shuffle", "deflate"
  std::int64_t bytes = 0;            // of the values
  std::int64_t stored_bytes = 0;     // on disk
  std::string defect;                // why it cannot be read, "" if it can
  struct Range {
    double min = 0.0, max = 0.0, mean = 0.0;  // over the finite values
    std::int64_t num_non_finite = 0;
  };
  std::optional<Range> range;  // numbers of at most InfoOptions::max_range_bytes
};

struct FileInfo {
  std::string file;
  std::vector<DatasetInfo> datasets;
  std::string vocabulary;            // "65 characters: ...", or why it is broken; "" if none
  std::vector<std::string> skipped;  // "/x (external link, not followed)"
  bool cut = false;                  // it holds more than is listed
};

struct InfoOptions {
  std::int64_t max_range_bytes = std::int64_t{256} << 20;
  std::size_t max_datasets = 1000;
};

/// Everything in an HDF5 file that is a data set. What open_hdf5() would refuse is named in
/// `defect` and not read.
/// errors  Exit::missing no such file; Exit::data not HDF5, cut short, damaged
[[nodiscard]] FileInfo describe(const std::string& file, const InfoOptions& options = {});

/// A table for the terminal, one line a data set.
[[nodiscard]] std::string to_text(const FileInfo& info);

}  // namespace dlt::data
