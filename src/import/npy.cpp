// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "data/npy_header.h"
#include "data/writer.h"
#include "import/import.h"
#include "import/parts.h"
#include "import/source_file.h"

namespace dlt::import_ {
namespace {

constexpr std::int64_t kMaxHeader_bytes = 1 << 20;

/// Truth values are kept as the bytes they are.
std::optional<DType> npy_type(std::string_view descr) {
  const std::optional<DType> dtype = data::npy_dtype(descr);
  return dtype == DType::boolean ? DType::u8 : dtype;
}

data::NpyDictionary read_header(SourceFile& file) {
  const std::string& path = file.path();
  std::array<char, data::kNpyStart_bytes> start{};
  const std::int64_t got = file.read_some(reinterpret_cast<std::byte*>(start.data()), start.size());
  const std::size_t width =
      data::npy_length_bytes(path, {start.data(), static_cast<std::size_t>(got)});
  const auto length = file.read_exactly(static_cast<std::int64_t>(width), "the header's length");
  std::int64_t header_bytes = 0;
  for (std::size_t i = length.size(); i-- > 0;) {
    header_bytes = header_bytes * 256 + std::to_integer<std::int64_t>(length[i]);
  }
  if (header_bytes > kMaxHeader_bytes) {
    throw Error(Exit::data, cat(path, ": byte 8: a header of ", header_bytes,
                                " bytes, expected at most ", kMaxHeader_bytes));
  }
  const std::int64_t first_byte = file.position();
  const auto bytes = file.read_exactly(header_bytes, "the header");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return data::read_npy_dictionary(path, text, first_byte);
}

Rows read_npy(const std::string& path) {
  SourceFile file(path);
  const data::NpyDictionary header = read_header(file);
  const std::optional<DType> dtype = npy_type(header.descr);
  if (!dtype) {
    throw Error(Exit::data,
                cat(path, ": numbers of type '", printable(header.descr),
                    "', expected little-endian integers or floats of 8 to 64 bits"),
                "in Python: numpy.save(f, a.astype('<f4'))");
  }
  const std::string shape = cat(
      "(",
      [&] {
        std::vector<std::string> words;
        for (const std::int64_t size : header.shape) words.push_back(std::to_string(size));
        return join(words);
      }(),
      ")");
  if (header.shape.empty() || header.shape.size() > tensor::Shape::kMaxRank) {
    throw Error(Exit::data, cat(path, ": shape ", shape, ", expected rows first and at most ",
                                tensor::Shape::kMaxRank, " axes"));
  }
  if (header.fortran_order && header.shape.size() > 1) {
    throw Error(Exit::data, cat(path, ": stored in Fortran order, expected C order"),
                "in Python: numpy.save(f, numpy.ascontiguousarray(a))");
  }
  std::int64_t num_bytes = static_cast<std::int64_t>(size_bytes(*dtype));
  for (const std::int64_t size : header.shape) {
    if (size == 0 || num_bytes > kMaxSource_bytes / size) {
      throw Error(Exit::data, cat(path, ": shape ", shape,
                                  size == 0 ? " has no rows or no numbers"
                                            : " makes more data than any file holds"));
    }
    num_bytes *= size;
  }
  Rows out{*dtype,
           header.shape[0],
           tensor::Shape(std::span<const std::int64_t>(header.shape).subspan(1)),
           {}};
  out.bytes = file.read_exactly(num_bytes, "the numbers");
  file.expect_end();
  return out;
}

struct Pair {
  Rows x;
  std::optional<Rows> y;
};

Pair read_pair(const std::string& inputs, const std::string& targets) {
  Pair out{read_npy(inputs), {}};
  if (targets.empty()) return out;
  out.y = read_npy(targets);
  if (out.y->num_rows != out.x.num_rows) {
    throw Error(Exit::data, cat(targets, ": has ", out.y->num_rows, " rows, ", inputs, " has ",
                                out.x.num_rows));
  }
  return out;
}

void check_same_rows(const std::string& test, const Rows& test_rows, const Rows& train_rows) {
  if (test_rows.row_shape != train_rows.row_shape) {
    throw Error(Exit::data, cat(test, ": rows of shape ", test_rows.row_shape.text(),
                                ", the training rows have ", train_rows.row_shape.text()));
  }
}

}  // namespace

ImportReport import_npy(const NpyOptions& options) {
  if (options.inputs.empty()) throw Error(Exit::usage, "import npy: no inputs are named");
  const bool has_test = !options.test_inputs.empty();
  if ((has_test && options.targets.empty() != options.test_targets.empty()) ||
      (!has_test && !options.test_targets.empty())) {
    throw Error(Exit::usage, "import npy: test files must match the training files one for one");
  }
  if (has_test && options.split.test_fraction != 0.0) {
    throw Error(Exit::usage, "import npy: with test files there is nothing to split off");
  }
  check_output(options.output,
               {options.inputs, options.targets, options.test_inputs, options.test_targets});
  ImportReport report;
  report.output = options.output;
  const Pair train = read_pair(options.inputs, options.targets);
  const Split split = split_rows(train.x.num_rows, options.split);
  data::Hdf5Writer writer(options.output);
  write_split(writer, {"x", options.deflate_level}, train.x, split, report);
  if (train.y) write_split(writer, {"y", options.deflate_level}, *train.y, split, report);
  if (has_test) {
    const Pair test = read_pair(options.test_inputs, options.test_targets);
    check_same_rows(options.test_inputs, test.x, train.x);
    write_rows(writer, "/test/x", test.x, options.deflate_level, report);
    if (test.y) {
      check_same_rows(options.test_targets, *test.y, *train.y);
      write_rows(writer, "/test/y", *test.y, options.deflate_level, report);
    }
  }
  writer.commit();
  return report;
}

}  // namespace dlt::import_
