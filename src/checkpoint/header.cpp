// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/header.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace dlt::checkpoint {
namespace {

constexpr std::size_t kMaxName_chars = 1024;

/// The parser calls back for every token; where we are decides what may come. Any other token is an
/// error at once, so nothing nests deeper than this list and no depth needs counting.
enum class Place : std::uint8_t { outside, root, metadata, tensor, shape, offsets };

class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& source) : source_(&source) {}
  Header take() { return std::move(header_); }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("true or false"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a fraction"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      if (entry_->shape.size() == static_cast<std::size_t>(tensor::Shape::kMaxRank)) {
        fail(cat("more than ", tensor::Shape::kMaxRank, " sizes"));
      }
      entry_->shape.push_back(value);
      return true;
    }
    if (place_ != Place::offsets || num_offsets_ == 2) return unexpected("a number");
    (num_offsets_ == 0 ? entry_->begin : entry_->end) = value;
    ++num_offsets_;
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      if (!header_.metadata.emplace(key_, value).second) fail("duplicate key in __metadata__");
      return true;
    }
    if (place_ != Place::tensor || key_ != "dtype") return unexpected("a string");
    entry_->dtype = value;
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::root;
      return true;
    }
    if (place_ != Place::root) return unexpected("an object");
    if (name_ == kMetadataKey) {
      if (has_metadata_) fail("duplicate name");
      has_metadata_ = true;
      place_ = Place::metadata;
      return true;
    }
    const std::string problem = name_problem(name_);
    if (!problem.empty()) fail(problem);
    const auto [at, is_new] = header_.tensors.try_emplace(name_);
    if (!is_new) fail("duplicate name");
    entry_ = &at->second;
    seen_.clear();
    place_ = Place::tensor;
    return true;
  }

  bool key(string_t& text) override {
    (place_ == Place::root ? name_ : key_) = text;
    if (place_ != Place::tensor) return true;
    if (text != "dtype" && text != "shape" && text != "data_offsets") {
      fail(cat("unknown key '", printable(text), "'"));
    }
    if (std::find(seen_.begin(), seen_.end(), text) != seen_.end()) {
      fail(cat("duplicate key '", text, "'"));
    }
    seen_.push_back(text);
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (std::find(seen_.begin(), seen_.end(), field) == seen_.end()) {
          fail(cat("no key '", field, "'"));
        }
      }
    }
    place_ = place_ == Place::root ? Place::outside : Place::root;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || key_ == "dtype") return unexpected("a list");
    place_ = key_ == "shape" ? Place::shape : Place::offsets;
    num_offsets_ = 0;
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets && num_offsets_ != 2) fail("data_offsets: want two numbers");
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    throw Error(Exit::data, cat(*source_, ": header is not JSON (at its byte ", position, ")"));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(Exit::data, cat(*source_, ": header: '", printable(name_), "': ", what));
  }

  bool unexpected(const char* what) const {
    if (place_ == Place::outside) {
      throw Error(Exit::data, cat(*source_, ": header: want an object, got ", what));
    }
    const bool has_key = place_ != Place::root;
    fail(cat(has_key ? "'" + printable(key_) + "': " : "", "unexpected ", what));
  }

  const std::string* source_;
  Header header_;
  Place place_ = Place::outside;
  std::string name_, key_;  // last key of the root, last key of the object inside it
  std::vector<std::string> seen_;
  HeaderEntry* entry_ = nullptr;
  int num_offsets_ = 0;
  bool has_metadata_ = false;
};

}  // namespace

std::string name_problem(std::string_view name) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (name.empty()) return "empty name";
  if (name == kMetadataKey) return "name is reserved";
  if (name.size() > kMaxName_chars) return cat("name longer than ", kMaxName_chars, " bytes");
  if (name.find_first_of("/\\") != std::string_view::npos ||
      name.find("..") != std::string_view::npos) {
    return "name looks like a path";
  }
  if (std::any_of(name.begin(), name.end(), is_control)) return "name holds a control character";
  return {};
}

Header parse_header(const std::string& source, std::string_view json) {
  HeaderReader reader(source);
  (void)nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  return reader.take();
}

}  // namespace dlt::checkpoint
