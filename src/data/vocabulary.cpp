// SPDX-License-Identifier: Apache-2.0
// Tokenizers in HDF5 files.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "data/convert.h"
#include "data/h5.h"
#include "data/tokenizer.h"
#include "data/writer.h"

namespace dlt::data {
namespace {

constexpr const char* kKind = "/vocabulary/kind";
constexpr const char* kText = "/vocabulary/text";
constexpr const char* kEnds = "/vocabulary/ends";
constexpr const char* kMerges = "/vocabulary/merges";
constexpr std::int64_t kMaxNumbers = std::int64_t{1} << 28;

bool has(const h5::Listing& listing, const char* name) {
  return std::find(listing.datasets.begin(), listing.datasets.end(), name) !=
         listing.datasets.end();
}

/// A whole data set of unsigned numbers below 2^31.
struct Numbers {
  std::vector<std::int32_t> values;
  std::vector<std::int64_t> dims;
};
Numbers read_numbers(const h5::Handle& file, const std::string& file_name, const char* name) {
  const h5::OpenDataset open = h5::open_dataset(file, file_name, name);
  const h5::Description& about = open.description;
  const std::string where = cat(file_name, ": '", name, "'");
  if (about.numel() > kMaxNumbers) {
    throw Error(Exit::data, cat(where, ": ", about.numel(), " numbers are too many"));
  }
  std::vector<std::byte> stored(static_cast<std::size_t>(about.bytes()));
  h5::read_rows(open, where, 0, about.dims[0], stored.data());
  Numbers out{std::vector<std::int32_t>(static_cast<std::size_t>(about.numel())), about.dims};
  const std::int64_t bad =
      to_labels(about.element_type->dtype, stored.data(), about.numel(), {}, out.values.data());
  if (bad < 0) return out;
  throw Error(Exit::data, cat(where, ": element ", bad, " is no whole number from 0"));
}

std::string read_text(const h5::Handle& file, const std::string& file_name, const char* name) {
  std::string out;
  for (const std::int32_t byte : read_numbers(file, file_name, name).values) {
    if (byte > 255)
      throw Error(Exit::data, cat(file_name, ": '", name, "': ", byte, " is no byte"));
    out.push_back(static_cast<char>(byte));
  }
  return out;
}

Tokenizer::Kind kind_of(const std::string& file, const std::string& word) {
  if (word == "char") return Tokenizer::Kind::characters;
  if (word == "bpe") return Tokenizer::Kind::byte_pairs;
  throw Error(Exit::data,
              cat(file, ": '", kKind, "' is '", printable(word), "', expected char or bpe"));
}

std::vector<std::string> cut(const std::string& file, const std::string& text,
                             const std::vector<std::int32_t>& ends) {
  std::vector<std::string> tokens;
  std::size_t begin = 0;
  for (const std::int32_t end : ends) {
    const auto to = static_cast<std::size_t>(end);
    if (to < begin || to > text.size()) break;
    tokens.push_back(text.substr(begin, to - begin));
    begin = to;
  }
  if (tokens.size() == ends.size() && begin == text.size()) return tokens;
  throw Error(Exit::data, cat(file, ": '", kEnds, "' element ", tokens.size(), " does not cut the ",
                              text.size(), " bytes of '", kText, "'"));
}

std::vector<Tokenizer::Merge> read_merges(const h5::Handle& file, const std::string& file_name) {
  const Numbers numbers = read_numbers(file, file_name, kMerges);
  if (numbers.dims.size() != 2 || numbers.dims[1] != 2) {
    throw Error(Exit::data, cat(file_name, ": '", kMerges, "': its shape is ",
                                h5::shape_text(numbers.dims), ", expected [merges, 2]"));
  }
  std::vector<Tokenizer::Merge> out;
  for (std::size_t i = 0; i < numbers.values.size(); i += 2) {
    out.push_back({numbers.values[i], numbers.values[i + 1]});
  }
  return out;
}

}  // namespace

std::optional<Tokenizer> find_vocabulary(const std::string& file) {
  const h5::Handle handle = h5::open_file(file);
  const h5::Listing listing = h5::list_datasets(handle);
  if (!has(listing, kKind)) return {};
  const Tokenizer::Kind kind = kind_of(file, read_text(handle, file, kKind));
  const std::string text = read_text(handle, file, kText);
  std::vector<std::string> tokens = cut(file, text, read_numbers(handle, file, kEnds).values);
  std::vector<Tokenizer::Merge> merges;
  if (has(listing, kMerges)) merges = read_merges(handle, file);
  return Tokenizer(kind, std::move(tokens), std::move(merges), cat(file, ": '/vocabulary'"));
}

Tokenizer read_vocabulary(const std::string& file) {
  std::optional<Tokenizer> found = find_vocabulary(file);
  if (found) return std::move(*found);
  throw Error(Exit::data, cat(file, ": holds no vocabulary ('", kKind, "')"),
              "dltrain data import text writes one beside the tokens");
}

void write_vocabulary(Hdf5Writer& writer, const Tokenizer& tokenizer) {
  const std::string kind = tokenizer.kind() == Tokenizer::Kind::characters ? "char" : "bpe";
  std::string text;
  std::vector<std::uint32_t> ends, merges;
  for (const std::string& token : tokenizer.tokens()) {
    text += token;
    ends.push_back(static_cast<std::uint32_t>(text.size()));
  }
  for (const Tokenizer::Merge& merge : tokenizer.merges()) {
    merges.push_back(static_cast<std::uint32_t>(merge.left));
    merges.push_back(static_cast<std::uint32_t>(merge.right));
  }
  const auto rows = [](const auto& of) { return static_cast<std::int64_t>(of.size()); };
  writer.write({.name = kKind, .dtype = DType::u8, .num_rows = rows(kind)}, kind.data());
  writer.write({.name = kText, .dtype = DType::u8, .num_rows = rows(text)}, text.data());
  writer.write({.name = kEnds, .dtype = DType::u32, .num_rows = rows(ends)}, ends.data());
  if (merges.empty()) return;
  writer.write(
      {.name = kMerges, .dtype = DType::u32, .num_rows = rows(merges) / 2, .row_shape = {2}},
      merges.data());
}

}  // namespace dlt::data
