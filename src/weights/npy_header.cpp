// SPDX-License-Identifier: Apache-2.0
#include "weights/npy_header.h"

#include <array>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace dlt::weights {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::array<std::pair<std::string_view, DType>, 12> kTypes = {{{"b1", DType::boolean},
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
                                                                        {"f8", DType::f64}}};

/// "<f4", "|u1"
std::optional<DType> dtype_of(std::string_view descr) {
  if (descr.size() != 3) return {};
  const bool one_byte = descr[2] == '1';
  if (descr[0] != '<' && descr[0] != '=' && !(one_byte && (descr[0] == '|' || descr[0] == '>'))) {
    return {};
  }
  for (const auto& [code, dtype] : kTypes) {
    if (descr.substr(1) == code) return dtype;
  }
  return {};
}

/// The dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
class Dictionary {
 public:
  Dictionary(const std::string& source, std::string_view text) : source_(source), text_(text) {}

  NpyHeader read() {
    NpyHeader out;
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !descr) {
        const std::string word = quoted();
        const auto dtype = dtype_of(word);
        if (!dtype) {
          refuse(cat("numbers of type '", printable(word),
                     "', expected little-endian integers or floats of 8 to 64 bits"));
        }
        out.type.dtype = *dtype;
        descr = true;
      } else if (key == "fortran_order" && !order) {
        out.fortran_order = boolean();
        order = true;
      } else if (key == "shape" && !shape) {
        out.type.shape = sizes();
        shape = true;
      } else {
        refuse(cat("the key '", printable(key), "' is unknown or there twice"));
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    if (!descr || !order || !shape) refuse("expected the keys descr, fortran_order and shape");
    return out;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(Exit::data, cat(source_, ": npy header: ", what));
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
    if (!take(c)) refuse(cat("expected '", c, "' at character ", at_));
  }
  std::string quoted() {
    skip_blanks();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') refuse(cat("expected a quoted word at character ", at_));
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
    refuse("fortran_order: expected True or False");
  }
  tensor::Shape sizes() {
    std::vector<std::int64_t> out;
    expect('(');
    while (!take(')')) {
      skip_blanks();
      std::int64_t size = 0;
      const char* const end = text_.data() + text_.size();
      const auto [stop, error] = std::from_chars(text_.data() + at_, end, size);
      if (error != std::errc{} || size < 0) refuse("shape: expected a size");
      at_ = static_cast<std::size_t>(stop - text_.data());
      out.push_back(size);
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    try {
      return tensor::Shape(out);
    } catch (const Error& error) {
      refuse(cat("shape: ", error.what()));
    }
  }

  const std::string& source_;
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

NpyHeader read_npy_header(const std::string& source, std::string_view start) {
  if (!start.starts_with(kMagic) || start.size() < 12) {
    throw Error(Exit::data, cat(source, ": not an .npy file (its magic bytes are missing)"));
  }
  const int major = static_cast<unsigned char>(start[6]);
  if (major < 1 || major > 3) {
    throw Error(Exit::data, cat(source, ": npy version ", major, ", expected 1 to 3"));
  }
  const std::size_t width = major == 1 ? 2 : 4;
  std::size_t length = 0;
  for (std::size_t i = width; i-- > 0;) {
    length = length * 256 + static_cast<unsigned char>(start[8 + i]);
  }
  if (length > start.size() - 8 - width) {
    throw Error(Exit::data, cat(source, ": an npy header of ", length, " bytes, expected at most ",
                                start.size() - 8 - width));
  }
  NpyHeader out = Dictionary(source, start.substr(8 + width, length)).read();
  out.num_bytes = 8 + width + length;
  return out;
}

std::string npy_header(const tensor::TensorType& type) {
  std::string code;
  for (const auto& [text, dtype] : kTypes) {
    if (dtype == type.dtype) code = cat(size_bytes(dtype) == 1 ? "|" : "<", text);
  }
  if (code.empty()) {
    throw Error(Exit::config, cat("npz: NumPy has no numbers of type ", name(type.dtype)),
                "--format safetensors has them");
  }
  std::string dims;
  for (const std::int64_t size : type.shape.dims())
    dims += cat(size, type.shape.rank() == 1 ? "," : ", ");
  if (type.shape.rank() > 1) dims.resize(dims.size() - 2);
  std::string text =
      cat("{'descr': '", code, "', 'fortran_order': False, 'shape': (", dims, "), }");
  constexpr std::size_t kBefore = 10;
  text.append(63 - (kBefore + text.size()) % 64, ' ');
  text += '\n';
  std::string out = cat(kMagic, std::string_view("\x01\x00", 2));
  out += static_cast<char>(text.size() & 0xff);
  out += static_cast<char>(text.size() >> 8);
  return out + text;
}

}  // namespace dlt::weights
