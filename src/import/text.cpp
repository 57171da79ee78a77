// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "data/tokenizer.h"
#include "data/writer.h"
#include "import/bpe_trainer.h"
#include "import/gpt2_vocabulary.h"
#include "import/import.h"
#include "import/parts.h"
#include "import/source_file.h"

namespace dlt::import_ {
namespace {

using data::Tokenizer;

/// All files, one after the other, and where each begins.
struct Text {
  std::string bytes;
  std::vector<std::size_t> begins;
};

Text read_texts(const std::vector<std::string>& files) {
  Text out;
  for (const std::string& file : files) {
    out.begins.push_back(out.bytes.size());
    out.bytes += read_whole(file);
  }
  return out;
}

/// The characters of a text, sorted by their numbers. errors  Exit::data bytes that are not UTF-8
Tokenizer characters_of(const TextOptions& options, const Text& text) {
  std::set<std::string> found;  // the order of UTF-8's bytes is that of the characters
  for (std::size_t at = 0; at < text.bytes.size();) {
    const Utf8Char c = decode_utf8(std::string_view(text.bytes).substr(at));
    if (!c.valid) {
      const auto file = std::upper_bound(text.begins.begin(), text.begins.end(), at) - 1;
      throw Error(Exit::data,
                  cat(options.inputs[static_cast<std::size_t>(file - text.begins.begin())],
                      ": byte ", at - *file, " is not UTF-8"),
                  "--tokenizer bpe takes any bytes");
    }
    found.insert(text.bytes.substr(at, c.num_bytes));
    at += c.num_bytes;
  }
  return {Tokenizer::Kind::characters, {found.begin(), found.end()}, {}, "characters"};
}

Tokenizer make_tokenizer(const TextOptions& options, const Text& text, std::size_t train_bytes) {
  if (options.vocabulary.ends_with(".json")) {
    const std::size_t slash = options.vocabulary.rfind('/');
    const std::string folder =
        slash == std::string::npos ? "" : options.vocabulary.substr(0, slash + 1);
    return read_gpt2_vocabulary(options.vocabulary,
                                options.merges.empty() ? folder + "merges.txt" : options.merges);
  }
  if (!options.vocabulary.empty()) return data::read_vocabulary(options.vocabulary);
  if (options.tokenizer == Tokenizer::Kind::characters) return characters_of(options, text);
  return train_byte_pairs(std::string_view(text.bytes).substr(0, train_bytes),
                          options.vocabulary_size);
}

/// Bytes of the first `share` of the characters.
std::size_t split_at(const std::string& text, double share) {
  const auto starts = [](char c) { return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u; };
  const auto total = std::count_if(text.begin(), text.end(), starts);
  auto wanted = static_cast<std::int64_t>(std::floor(static_cast<double>(total) * share));
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    if (starts(text[at]) && wanted-- == 0) break;
  }
  return at;
}

template <typename T>
Rows narrow(const std::vector<std::int32_t>& tokens, DType dtype) {
  std::vector<T> values(tokens.size());
  std::transform(tokens.begin(), tokens.end(), values.begin(),
                 [](std::int32_t token) { return static_cast<T>(token); });
  return {dtype, static_cast<std::int64_t>(values.size()), tensor::Shape{}, to_bytes(values)};
}

/// In the smallest type that holds every token of the vocabulary.
Rows token_rows(const std::vector<std::int32_t>& tokens, std::int64_t num_tokens) {
  if (num_tokens <= 256) return narrow<std::uint8_t>(tokens, DType::u8);
  if (num_tokens <= 65536) return narrow<std::uint16_t>(tokens, DType::u16);
  return narrow<std::uint32_t>(tokens, DType::u32);
}

void check_text(const TextOptions& options) {
  if (options.inputs.empty()) throw Error(Exit::usage, "import text: no input file is named");
  if (!(options.split > 0.0 && options.split <= 1.0)) {
    throw Error(Exit::usage, cat("import text: split: expected a number above 0, at most 1, got ",
                                 options.split));
  }
  if (options.vocabulary_size < 256 && options.tokenizer == Tokenizer::Kind::byte_pairs) {
    throw Error(Exit::usage, cat("import text: vocabulary size: expected at least 256 (one token a "
                                 "byte), got ",
                                 options.vocabulary_size));
  }
  std::vector<std::string> sources = options.inputs;
  sources.push_back(options.vocabulary);
  check_output(options.output, sources);
}

}  // namespace

ImportReport import_text(const TextOptions& options) {
  check_text(options);
  const Text text = read_texts(options.inputs);
  const std::size_t train_bytes = split_at(text.bytes, options.split);
  const std::string_view train = std::string_view(text.bytes).substr(0, train_bytes);
  const std::string_view val = std::string_view(text.bytes).substr(train_bytes);
  if (train.empty() || (val.empty() && options.split < 1.0)) {
    throw Error(Exit::data, cat(options.inputs[0], ": ", text.bytes.size(),
                                " bytes of text are too few to split at ", options.split));
  }
  const Tokenizer tokenizer = make_tokenizer(options, text, train_bytes);
  ImportReport report;
  report.output = options.output;
  data::Hdf5Writer writer(options.output);
  const auto write = [&](const char* name, std::string_view part) {
    const std::vector<std::int32_t> tokens = tokenizer.encode(part, options.inputs[0]);
    write_rows(writer, name, token_rows(tokens, tokenizer.size()), options.deflate_level, report);
  };
  write("/train/tokens", train);
  if (!val.empty()) write("/val/tokens", val);
  data::write_vocabulary(writer, tokenizer);
  report.notes.push_back(cat("vocabulary: ", tokenizer.text()));
  if (tokenizer.kind() == Tokenizer::Kind::byte_pairs && options.vocabulary.empty() &&
      tokenizer.size() < options.vocabulary_size) {
    report.notes.push_back(
        cat("no pair stands twice beyond these; ", options.vocabulary_size, " were asked for"));
  }
  writer.commit();
  return report;
}

}  // namespace dlt::import_
