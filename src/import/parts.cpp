// SPDX-License-Identifier: Apache-2.0
#include "import/parts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "data/permutation.h"
#include "data/writer.h"

namespace dlt::import_ {

std::int64_t Rows::row_bytes() const {
  return row_shape.numel() * static_cast<std::int64_t>(size_bytes(dtype));
}

Split split_rows(std::int64_t num_rows, const SplitOptions& options) {
  if (!(options.test_fraction >= 0.0 && options.test_fraction < 1.0)) {
    throw Error(Exit::usage, cat("test fraction: expected a number from 0 to below 1, got ",
                                 options.test_fraction));
  }
  Split split;
  if (options.test_fraction == 0.0) {
    split.train.resize(static_cast<std::size_t>(num_rows));
    std::iota(split.train.begin(), split.train.end(), std::int64_t{0});
    return split;
  }
  const std::int64_t num_test = std::llround(static_cast<double>(num_rows) * options.test_fraction);
  if (num_test == 0 || num_test == num_rows) {
    throw Error(Exit::usage,
                cat("test fraction ", options.test_fraction, " of ", num_rows, " rows leaves ",
                    num_test == 0 ? "no test" : "no training", " rows"));
  }
  const data::Permutation permutation(num_rows, options.seed, 0);
  for (std::int64_t row = 0; row < num_rows; ++row) {
    (permutation(row) < num_test ? split.test : split.train).push_back(row);
  }
  return split;
}

Rows take_rows(const Rows& from, const std::vector<std::int64_t>& rows) {
  Rows out{from.dtype, static_cast<std::int64_t>(rows.size()), from.row_shape, {}};
  const std::int64_t row_bytes = from.row_bytes();
  out.bytes.reserve(rows.size() * static_cast<std::size_t>(row_bytes));
  for (const std::int64_t row : rows) {
    const auto begin = from.bytes.begin() + row * row_bytes;
    out.bytes.insert(out.bytes.end(), begin, begin + row_bytes);
  }
  return out;
}

void write_rows(data::Hdf5Writer& writer, const std::string& name, const Rows& rows,
                int deflate_level, ImportReport& report) {
  DLT_CHECK(static_cast<std::int64_t>(rows.bytes.size()) == rows.num_rows * rows.row_bytes(),
            "rows and bytes differ");
  writer.write({.name = name,
                .dtype = rows.dtype,
                .num_rows = rows.num_rows,
                .row_shape = rows.row_shape,
                .deflate_level = deflate_level},
               rows.bytes.data());
  ImportReport::Item item{name, std::string(::dlt::name(rows.dtype)), {rows.num_rows}};
  const auto dims = rows.row_shape.dims();
  item.shape.insert(item.shape.end(), dims.begin(), dims.end());
  report.items.push_back(item);
}

void write_split(data::Hdf5Writer& writer, const PartOptions& options, const Rows& rows,
                 const Split& split, ImportReport& report) {
  if (split.test.empty()) {
    write_rows(writer, "/train/" + options.name, rows, options.deflate_level, report);
    return;
  }
  write_rows(writer, "/train/" + options.name, take_rows(rows, split.train), options.deflate_level,
             report);
  write_rows(writer, "/test/" + options.name, take_rows(rows, split.test), options.deflate_level,
             report);
}

void check_output(const std::string& output, const std::vector<std::string>& sources) {
  if (output.empty()) throw Error(Exit::usage, "no output file is named", "add --output F.h5");
  if (std::find(sources.begin(), sources.end(), output) != sources.end()) {
    throw Error(Exit::usage, cat(output, ": is input and output at once"));
  }
}

}  // namespace dlt::import_
