// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "data/writer.h"
#include "import/import.h"
#include "import/parts.h"
#include "import/source_file.h"

namespace dlt::import_ {
namespace {

std::optional<DType> idx_type(std::uint8_t code) {
  switch (code) {
    case 0x08:
      return DType::u8;
    case 0x09:
      return DType::i8;
    case 0x0B:
      return DType::i16;
    case 0x0C:
      return DType::i32;
    case 0x0D:
      return DType::f32;
    case 0x0E:
      return DType::f64;
    default:
      return std::nullopt;
  }
}

std::string hex(std::uint8_t byte) {
  constexpr char kDigits[] = "0123456789abcdef";
  return {'0', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
}

/// source: http://yann.lecun.com/exdb/mnist: 0, 0, type, number of sizes, sizes, numbers; all
/// big-endian.
Rows read_idx(const std::string& path) {
  SourceFile file(path);
  std::array<std::byte, 4> magic{};
  const std::int64_t got = file.read_some(magic.data(), 4);
  const auto code = std::to_integer<std::uint8_t>(magic[2]);
  const auto rank = std::to_integer<std::uint8_t>(magic[3]);
  const std::optional<DType> dtype = idx_type(code);
  if (got < 4 || magic[0] != std::byte{0} || magic[1] != std::byte{0} || !dtype) {
    throw Error(Exit::data,
                cat(path,
                    ": not an IDX file: expected it to begin with 0, 0 and a type of 0x08 to "
                    "0x0e, ",
                    got < 4 ? cat("it has ", got, " bytes")
                            : cat("found ", hex(std::to_integer<std::uint8_t>(magic[0])), " ",
                                  hex(std::to_integer<std::uint8_t>(magic[1])), " ", hex(code))));
  }
  if (rank < 1 || rank > tensor::Shape::kMaxRank) {
    throw Error(Exit::data, cat(path, ": byte 3: ", int{rank}, " sizes, expected 1 to ",
                                tensor::Shape::kMaxRank));
  }
  const std::vector<std::byte> sizes = file.read_exactly(4 * rank, "the sizes");
  Rows out;
  out.dtype = *dtype;
  std::vector<std::int64_t> dims;
  std::int64_t num_bytes = static_cast<std::int64_t>(size_bytes(*dtype));
  const auto element_bytes = static_cast<std::size_t>(num_bytes);
  for (std::size_t i = 0; i < rank; ++i) {
    std::int64_t size = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      size = size * 256 + std::to_integer<std::int64_t>(sizes[4 * i + k]);
    }
    if (size == 0 || num_bytes > kMaxSource_bytes / size) {
      throw Error(Exit::data, cat(path, ": byte ", 4 + 4 * i, ": size ", size, " of axis ", i,
                                  size == 0 ? ", expected at least 1"
                                            : " makes more data than any file holds"));
    }
    num_bytes *= size;
    dims.push_back(size);
  }
  out.num_rows = dims[0];
  out.row_shape = tensor::Shape(std::span<const std::int64_t>(dims).subspan(1));
  out.bytes = file.read_exactly(num_bytes, "the numbers");
  file.expect_end();
  if (element_bytes > 1) {
    for (auto at = out.bytes.begin(); at != out.bytes.end();
         at += static_cast<std::ptrdiff_t>(element_bytes)) {
      std::reverse(at, at + static_cast<std::ptrdiff_t>(element_bytes));
    }
  }
  return out;
}

Rows read_images(const std::string& path) {
  Rows rows = read_idx(path);
  if (rows.row_shape.rank() == 2) {
    rows.row_shape = tensor::Shape{rows.row_shape[0], rows.row_shape[1], 1};
  }
  if (rows.row_shape.rank() == 0) {
    throw Error(Exit::data, cat(path, ": has one size, as labels do; expected images"));
  }
  return rows;
}

Rows read_labels(const std::string& path, const std::string& images_path, const Rows& images) {
  Rows rows = read_idx(path);
  if (rows.row_shape.numel() != 1) {
    throw Error(Exit::data, cat(path, ": one label has shape ", rows.row_shape.text(),
                                ", expected a single number (are images and labels swapped?)"));
  }
  if (rows.num_rows != images.num_rows) {
    throw Error(Exit::data, cat(path, ": has ", rows.num_rows, " labels, ", images_path, " has ",
                                images.num_rows, " images"));
  }
  return rows;
}

}  // namespace

ImportReport import_idx(const IdxOptions& options) {
  if (options.train_images.empty() || options.train_labels.empty()) {
    throw Error(Exit::usage, "import idx: training images and training labels are both needed");
  }
  const bool has_test = !options.test_images.empty();
  if (has_test != !options.test_labels.empty()) {
    throw Error(Exit::usage, "import idx: test images and test labels go together");
  }
  if (has_test && options.split.test_fraction != 0.0) {
    throw Error(Exit::usage, "import idx: with test files there is nothing to split off");
  }
  check_output(options.output, {options.train_images, options.train_labels, options.test_images,
                                options.test_labels});
  ImportReport report;
  report.output = options.output;
  const Rows images = read_images(options.train_images);
  const Rows labels = read_labels(options.train_labels, options.train_images, images);
  const Split split = split_rows(images.num_rows, options.split);
  data::Hdf5Writer writer(options.output);
  write_split(writer, {"images", options.deflate_level}, images, split, report);
  write_split(writer, {"labels", options.deflate_level}, labels, split, report);
  if (has_test) {
    const Rows test_images = read_images(options.test_images);
    if (test_images.row_shape != images.row_shape) {
      throw Error(Exit::data,
                  cat(options.test_images, ": images of shape ", test_images.row_shape.text(),
                      ", the training images have ", images.row_shape.text()));
    }
    const Rows test_labels = read_labels(options.test_labels, options.test_images, test_images);
    write_rows(writer, "/test/images", test_images, options.deflate_level, report);
    write_rows(writer, "/test/labels", test_labels, options.deflate_level, report);
  }
  writer.commit();
  return report;
}

}  // namespace dlt::import_
