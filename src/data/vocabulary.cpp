// SPDX-License-Identifier: Apache-2.0
// Tokenizers in HDF5 files.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "data/h5.h"
#include "data/text_list.h"
#include "data/tokenizer.h"
#include "data/writer.h"

namespace dlt::data {
namespace {

constexpr const char* kGroup = "/vocabulary";
constexpr const char* kKind = "/vocabulary/kind";
constexpr const char* kMerges = "/vocabulary/merges";

bool has(const h5::Listing& listing, const char* name) {
  return std::find(listing.datasets.begin(), listing.datasets.end(), name) !=
         listing.datasets.end();
}

Tokenizer::Kind read_kind(const std::string& file) {
  std::string word;
  for (const std::int32_t byte : read_whole_numbers(file, kKind).values) {
    word.push_back(static_cast<char>(byte));
  }
  if (word == "char") return Tokenizer::Kind::characters;
  if (word == "bpe") return Tokenizer::Kind::byte_pairs;
  throw Error(Exit::data,
              cat(file, ": '", kKind, "' is '", printable(word), "', expected char or bpe"));
}

std::vector<Tokenizer::Merge> read_merges(const std::string& file) {
  const WholeNumbers numbers = read_whole_numbers(file, kMerges);
  if (numbers.dims.size() != 2 || numbers.dims[1] != 2) {
    throw Error(Exit::data, cat(file, ": '", kMerges, "': its shape is ",
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
  const h5::Listing listing = h5::list_datasets(h5::open_file(file));
  if (!has(listing, kKind)) return {};
  const Tokenizer::Kind kind = read_kind(file);
  std::vector<Tokenizer::Merge> merges;
  if (has(listing, kMerges)) merges = read_merges(file);
  return Tokenizer(kind, read_text_list(file, kGroup), std::move(merges),
                   cat(file, ": '", kGroup, "'"));
}

Tokenizer read_vocabulary(const std::string& file) {
  std::optional<Tokenizer> found = find_vocabulary(file);
  if (found) return std::move(*found);
  throw Error(Exit::data, cat(file, ": holds no vocabulary ('", kKind, "')"),
              "dltrain data import text writes one beside the tokens");
}

void write_vocabulary(Hdf5Writer& writer, const Tokenizer& tokenizer) {
  const std::string kind = tokenizer.kind() == Tokenizer::Kind::characters ? "char" : "bpe";
  const auto rows = [](const auto& of) { return static_cast<std::int64_t>(of.size()); };
  writer.write({.name = kKind, .dtype = DType::u8, .num_rows = rows(kind)}, kind.data());
  write_text_list(writer, kGroup, tokenizer.tokens());
  std::vector<std::uint32_t> merges;
  for (const Tokenizer::Merge& merge : tokenizer.merges()) {
    merges.push_back(static_cast<std::uint32_t>(merge.left));
    merges.push_back(static_cast<std::uint32_t>(merge.right));
  }
  if (merges.empty()) return;
  writer.write(
      {.name = kMerges, .dtype = DType::u32, .num_rows = rows(merges) / 2, .row_shape = {2}},
      merges.data());
}

}  // namespace dlt::data
