// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "data/writer.h"
#include "import/import.h"
#include "import/parts.h"
#include "import/source_file.h"

namespace dlt::import_ {
namespace {

constexpr std::int64_t kMaxHeader_bytes = 1 << 20;

/// What the header of an .npy file says.
struct NpyHeader {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// Reads the header, a Python dictionary of three known keys:
/// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
/// source: numpy/lib/format.py
class HeaderParser {
 public:
  HeaderParser(const std::string& path, std::string_view text, std::int64_t first_byte)
      : path_(path), text_(text), first_byte_(first_byte) {}

  NpyHeader parse() {
    NpyHeader out;
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !has_descr) {
        skip_blanks();
        if (at_ < text_.size() && text_[at_] == '[') {
          throw Error(Exit::data, cat(path_, ": is a table of records, expected plain numbers"));
        }
        out.descr = quoted();
        has_descr = true;
      } else if (key == "fortran_order" && !has_order) {
        out.fortran_order = boolean();
        has_order = true;
      } else if (key == "shape" && !has_shape) {
        out.shape = tuple();
        has_shape = true;
      } else {
        refuse(cat("unexpected key '", printable(key), "'"));
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    if (!has_descr || !has_order || !has_shape) {
      refuse("one of 'descr', 'fortran_order', 'shape' is missing");
    }
    return out;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(Exit::data, cat(path_, ": byte ", first_byte_ + static_cast<std::int64_t>(at_),
                                ": damaged npy header: ", what));
  }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool take(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) refuse(cat("expected '", c, "'"));
  }
  std::string quoted() {
    skip_blanks();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') refuse("expected a quoted word");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) refuse("a quote is never closed");
    const std::string word(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return word;
  }
  bool boolean() {
    skip_blanks();
    for (const auto& [word, value] :
         {std::pair{std::string_view("True"), true}, std::pair{std::string_view("False"), false}}) {
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return value;
      }
    }
    refuse("expected True or False");
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> out;
    expect('(');
    while (!take(')')) {
      skip_blanks();
      std::int64_t size = 0;
      const char* const end = text_.data() + text_.size();
      const auto [stop, error] = std::from_chars(text_.data() + at_, end, size);
      if (error != std::errc{} || size < 0) refuse("expected a size");
      at_ = static_cast<std::size_t>(stop - text_.data());
      out.push_back(size);
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return out;
  }

  const std::string& path_;
  std::string_view text_;
  std::int64_t first_byte_;
  std::size_t at_ = 0;
};

std::optional<DType> npy_type(std::string_view descr) {
  if (descr.size() != 3) return {};
  const bool one_byte = descr[2] == '1';
  if (descr[0] != '<' && !(one_byte && (descr[0] == '|' || descr[0] == '>'))) return {};
  const std::string_view code = descr.substr(1);
  constexpr std::array<std::pair<std::string_view, DType>, 12> kTypes = {{
      {"b1", DType::u8},
      {"u1", DType::u8},
      {"i1", DType::i8},
      {"u2", DType::u16},
      {"i2", DType::i16},
      {"u4", DType::u32},
      {"i4", DType::i32},
      {"u8", DType::u64},
      {"i8", DType::i64},
      {"f2", DType::f16},
      {"f4", DType::f32},
      {"f8", DType::f64},
  }};
  for (const auto& [text, dtype] : kTypes) {
    if (code == text) return dtype;
  }
  return {};
}

NpyHeader read_header(SourceFile& file) {
  const std::string& path = file.path();
  std::array<char, 8> magic{};
  const std::int64_t got = file.read_some(reinterpret_cast<std::byte*>(magic.data()), 8);
  if (got < 8 || std::memcmp(magic.data(), "\x93NUMPY", 6) != 0) {
    throw Error(Exit::data, cat(path, ": not an .npy file (its magic bytes are missing)"));
  }
  const int major = static_cast<unsigned char>(magic[6]);
  if (major < 1 || major > 3) {
    throw Error(Exit::data, cat(path, ": npy version ", major, ", expected 1 to 3"));
  }
  const auto length = file.read_exactly(major == 1 ? 2 : 4, "the header's length");
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
  return HeaderParser(path, text, first_byte).parse();
}

Rows read_npy(const std::string& path) {
  SourceFile file(path);
  const NpyHeader header = read_header(file);
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
