// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer.h"

#include <algorithm>
#include <iomanip>
#include <limits>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "data/char_class.h"

namespace dlt::data {
namespace {

constexpr std::size_t kMaxWord_bytes = 512;
constexpr std::size_t kMaxToken_bytes = 1 << 16;
constexpr std::size_t kMaxTokens = 1 << 24;
constexpr std::size_t kMaxNamed = 10;  // characters in a message

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
         static_cast<std::uint32_t>(right);
}

struct Seen {
  CharClass kind = CharClass::other;
  std::size_t num_bytes = 1;
};

Seen look(std::string_view text) {
  const Utf8Char c = decode_utf8(text);
  return {c.valid ? char_class(c.code) : CharClass::other, c.num_bytes};
}

/// Bytes of characters of one class at the start of text.
std::size_t run_bytes(std::string_view text, CharClass kind) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Seen seen = look(text.substr(at));
    if (seen.kind != kind) break;
    at += seen.num_bytes;
  }
  return at;
}

std::size_t contraction_bytes(std::string_view text) {
  for (const std::string_view end : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}) {
    if (text.starts_with(end)) return end.size();
  }
  return 0;
}

std::size_t spaces_bytes(std::string_view text) {
  std::size_t at = 0, last = 0;
  while (at < text.size()) {
    const Seen seen = look(text.substr(at));
    if (seen.kind != CharClass::space) break;
    last = at;
    at += seen.num_bytes;
  }
  return at < text.size() && last > 0 ? last : at;  // the last one stands before a word
}

std::size_t word_bytes(std::string_view text) {
  if (const std::size_t bytes = contraction_bytes(text); bytes > 0) return bytes;
  const std::size_t blank = text[0] == ' ' && text.size() > 1 ? 1 : 0;
  const Seen first = look(text.substr(blank));
  if (first.kind != CharClass::space) return blank + run_bytes(text.substr(blank), first.kind);
  return spaces_bytes(text);
}

/// 'x' (U+0078), or the byte.
std::string character_text(const Utf8Char& c, std::string_view bytes) {
  std::ostringstream out;
  out << std::hex << std::uppercase << std::setfill('0');
  if (!c.valid) {
    out << "byte 0x" << std::setw(2) << c.code << " (not UTF-8)";
  } else {
    out << "'" << printable(bytes) << "' (U+" << std::setw(4) << c.code << ")";
  }
  return out.str();
}

bool is_one_character(const std::string& token) {
  const Utf8Char c = decode_utf8(token);
  return c.valid && c.num_bytes == token.size();
}

}  // namespace

void for_words(std::string_view text, const std::function<void(std::string_view)>& use) {
  while (!text.empty()) {
    std::size_t bytes = word_bytes(text);
    std::string_view word = text.substr(0, bytes);
    text.remove_prefix(bytes);
    for (; word.size() > kMaxWord_bytes; word.remove_prefix(kMaxWord_bytes)) {
      use(word.substr(0, kMaxWord_bytes));
    }
    use(word);
  }
}

Tokenizer::Tokenizer(Kind kind, std::vector<std::string> tokens, std::vector<Merge> merges,
                     const std::string& where)
    : kind_(kind), tokens_(std::move(tokens)), merges_(std::move(merges)) {
  if (tokens_.empty() || tokens_.size() > kMaxTokens) {
    throw Error(Exit::data, cat(where, ": a vocabulary of ", tokens_.size(),
                                " tokens, expected 1 to ", kMaxTokens));
  }
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    const std::string& token = tokens_[id];
    if (token.empty() || token.size() > kMaxToken_bytes) {
      throw Error(Exit::data, cat(where, ": token ", id, " has ", token.size(),
                                  " bytes, expected 1 to ", kMaxToken_bytes));
    }
    if (kind == Kind::characters && !is_one_character(token)) {
      throw Error(Exit::data, cat(where, ": token ", id, " is '", printable(token),
                                  "', expected one character of UTF-8"));
    }
    const auto [other, is_new] = ids_.emplace(token, static_cast<std::int32_t>(id));
    if (!is_new) {
      throw Error(Exit::data, cat(where, ": tokens ", other->second, " and ", id, " are both '",
                                  printable(token), "'"));
    }
  }
  if (kind == Kind::byte_pairs) learn_merges(where);
}

void Tokenizer::learn_merges(const std::string& where) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    if (!ids_.contains(std::string_view(&c, 1))) {
      throw Error(Exit::data, cat(where, ": no token stands for byte ", byte,
                                  " alone, expected one for each of the 256"));
    }
  }
  const auto known = [&](std::int32_t id) { return id >= 0 && id < size(); };
  std::string joined;
  for (std::size_t rank = 0; rank < merges_.size(); ++rank) {
    const Merge& merge = merges_[rank];
    const bool good = known(merge.left) && known(merge.right);
    if (good) joined = bytes(merge.left) + bytes(merge.right);
    const auto found = good ? ids_.find(joined) : ids_.end();
    if (found == ids_.end()) {
      throw Error(Exit::data,
                  cat(where, ": merge ", rank, " joins tokens ", merge.left, " and ", merge.right,
                      good ? ", and no token is what they make"
                           : ", of which one is "
                             "not there"));
    }
    rules_.emplace(pair_key(merge.left, merge.right),
                   Rule{static_cast<std::int32_t>(rank), found->second});
  }
}

const Tokenizer::Rule* Tokenizer::rule(std::int32_t left, std::int32_t right) const {
  const auto found = rules_.find(pair_key(left, right));
  return found == rules_.end() ? nullptr : &found->second;
}

void Tokenizer::encode_word(std::string_view word, std::vector<std::int32_t>& out) const {
  constexpr std::int32_t kNone = std::numeric_limits<std::int32_t>::max();
  std::vector<std::int32_t> ids, ranks;  // ranks[i]: of the pair i, i + 1
  for (std::size_t i = 0; i < word.size(); ++i) ids.push_back(ids_.at(word.substr(i, 1)));
  const auto rank_at = [&](std::size_t i) {
    const Rule* const found = rule(ids[i], ids[i + 1]);
    return found == nullptr ? kNone : found->rank;
  };
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) ranks.push_back(rank_at(i));
  while (!ranks.empty()) {
    const auto best = std::min_element(ranks.begin(), ranks.end());
    if (*best == kNone) break;
    const auto at = static_cast<std::size_t>(best - ranks.begin());
    ids[at] = rule(ids[at], ids[at + 1])->result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    ranks.erase(best);
    if (at > 0) ranks[at - 1] = rank_at(at - 1);
    if (at < ranks.size()) ranks[at] = rank_at(at);
  }
  out.insert(out.end(), ids.begin(), ids.end());
}

std::vector<std::int32_t> Tokenizer::encode_characters(std::string_view text,
                                                       const std::string& where) const {
  std::vector<std::int32_t> out;
  std::vector<std::string> missing;
  std::size_t first_missing = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Char c = decode_utf8(text.substr(at));
    const std::string_view bytes = text.substr(at, c.num_bytes);
    const auto found = ids_.find(bytes);
    if (found != ids_.end()) {
      out.push_back(found->second);
    } else {
      const std::string name = character_text(c, bytes);
      if (missing.empty()) first_missing = at;
      if (std::find(missing.begin(), missing.end(), name) == missing.end()) {
        missing.push_back(name);
      }
      if (missing.size() > kMaxNamed) break;
    }
    at += c.num_bytes;
  }
  if (missing.empty()) return out;
  if (missing.size() > kMaxNamed) missing.back() = "...";
  throw Error(Exit::data, cat(where, ": byte ", first_missing, ": not in the vocabulary of ",
                              this->text(), ": ", join(missing)));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, const std::string& where) const {
  if (kind_ == Kind::characters) return encode_characters(text, where);
  std::vector<std::int32_t> out;
  std::unordered_map<std::string_view, std::vector<std::int32_t>> known;
  for_words(text, [&](std::string_view word) {
    const auto [entry, is_new] = known.try_emplace(word);
    if (is_new) encode_word(word, entry->second);
    out.insert(out.end(), entry->second.begin(), entry->second.end());
  });
  return out;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string out;
  for (const std::int32_t id : ids) out += bytes(id);
  return out;
}

std::string Tokenizer::text() const {
  return kind_ == Kind::characters ? counted(size(), "character", "characters")
                                   : counted(size(), "byte pair", "byte pairs");
}

}  // namespace dlt::data
