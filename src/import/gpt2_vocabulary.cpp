// SPDX-License-Identifier: Apache-2.0
#include "import/gpt2_vocabulary.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "import/source_file.h"

namespace dlt::import_ {
namespace {

/// GPT-2 writes the bytes 33 to 126, 161 to 172 and 174 to 255 as the characters of these numbers,
/// the others, in order, as the characters from 256 on.
class ByteAlphabet {
 public:
  ByteAlphabet() {
    std::uint32_t next = 256;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      const bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
      bytes_.emplace(shown ? byte : next++, static_cast<char>(byte));
    }
  }

  /// Bytes of a token as it is written; what is not of the alphabet stays as it is ("<|endoftext|>"
  /// is of it).
  [[nodiscard]] std::string bytes_of(std::string_view written) const {
    std::string out;
    while (!written.empty()) {
      const Utf8Char c = decode_utf8(written);
      const auto found = bytes_.find(c.code);
      if (c.valid && found != bytes_.end()) {
        out.push_back(found->second);
      } else {
        out += written.substr(0, c.num_bytes);
      }
      written.remove_prefix(c.num_bytes);
    }
    return out;
  }

 private:
  std::unordered_map<std::uint32_t, char> bytes_;
};

using Ids = std::unordered_map<std::string, std::int32_t>;  // by the token as written

Ids read_ids(const std::string& file) {
  const std::string text = read_whole(file);
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) {
    throw Error(Exit::data, cat(file, ": not a JSON object of tokens and their numbers"));
  }
  const auto count = static_cast<std::int64_t>(json.size());
  Ids out;
  for (const auto& [token, id] : json.items()) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= count) {
      throw Error(Exit::data,
                  cat(file, ": token '", printable(token), "' has number ",
                      printable(id.dump(-1, ' ', true)), ", expected 0 to ", count - 1));
    }
    out.emplace(token, id.get<std::int32_t>());
  }
  return out;
}

std::vector<std::string> in_order(const std::string& file, const Ids& ids) {
  const ByteAlphabet alphabet;
  std::vector<std::string> tokens(ids.size());
  for (const auto& [token, id] : ids) {
    std::string& place = tokens[static_cast<std::size_t>(id)];
    if (!place.empty()) {
      throw Error(Exit::data, cat(file, ": two tokens have the number ", id));
    }
    place = alphabet.bytes_of(token);
  }
  return tokens;
}

std::vector<data::Tokenizer::Merge> read_merges(const std::string& file, const Ids& ids) {
  const std::string text = read_whole(file);
  std::vector<data::Tokenizer::Merge> out;
  std::size_t begin = 0;
  for (std::int64_t line = 1; begin < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view pair(text.data() + begin, end - begin);
    begin = end + 1;
    if (pair.ends_with('\r')) pair.remove_suffix(1);
    if (pair.empty() || pair.starts_with("#version")) continue;
    const std::size_t blank = pair.find(' ');
    const auto left = ids.find(std::string(pair.substr(0, blank)));
    const auto right =
        blank == pair.npos ? ids.end() : ids.find(std::string(pair.substr(blank + 1)));
    if (left == ids.end() || right == ids.end()) {
      throw Error(Exit::data, cat(file, ":", line, ": expected two tokens of the vocabulary, got '",
                                  printable(pair), "'"));
    }
    out.push_back({left->second, right->second});
  }
  return out;
}

}  // namespace

data::Tokenizer read_gpt2_vocabulary(const std::string& vocab_json, const std::string& merges_txt) {
  const Ids ids = read_ids(vocab_json);
  return {data::Tokenizer::Kind::byte_pairs, in_order(vocab_json, ids),
          read_merges(merges_txt, ids), vocab_json};
}

}  // namespace dlt::import_
