// SPDX-License-Identifier: Apache-2.0
#include "data/npy_header.h"

#include <array>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace dlt::data {
namespace {

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

class DictionaryParser {
 public:
  DictionaryParser(const std::string& path, std::string_view text, std::int64_t first_byte)
      : path_(path), text_(text), first_byte_(first_byte) {}

  NpyDictionary parse() {
    NpyDictionary out;
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

}  // namespace

std::size_t npy_length_bytes(const std::string& source, std::string_view start) {
  if (start.size() < kNpyStart_bytes || !start.starts_with(kNpyMagic)) {
    throw Error(Exit::data, cat(source, ": not an .npy file (its magic bytes are missing)"));
  }
  const int major = static_cast<unsigned char>(start[kNpyMagic.size()]);
  if (major < 1 || major > 3) {
    throw Error(Exit::data, cat(source, ": npy version ", major, ", expected 1 to 3"));
  }
  return major == 1 ? 2 : 4;
}

NpyDictionary read_npy_dictionary(const std::string& source, std::string_view text,
                                  std::int64_t first_byte) {
  return DictionaryParser(source, text, first_byte).parse();
}

std::optional<DType> npy_dtype(std::string_view descr) {
  if (descr.size() != 3) return {};
  const bool one_byte = descr[2] == '1';
  if (descr[0] != '<' && !(one_byte && (descr[0] == '|' || descr[0] == '>'))) return {};
  for (const auto& [code, dtype] : kTypes) {
    if (descr.substr(1) == code) return dtype;
  }
  return {};
}

std::optional<std::string> npy_descr(DType dtype) {
  for (const auto& [code, known] : kTypes) {
    if (known == dtype) return cat(size_bytes(dtype) == 1 ? "|" : "<", code);
  }
  return {};
}

}  // namespace dlt::data
