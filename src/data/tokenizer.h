// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back. A vocabulary travels inside the HDF5 file of the tokens:
//   /vocabulary/kind    u8 [..]    "char" or "bpe"
//   /vocabulary/text    u8 [..]    the bytes of all tokens, one after the other
//   /vocabulary/ends    u32 [V]    where in it each token ends
//   /vocabulary/merges  u32 [M, 2] bpe: the pairs of tokens that become one, in the order of their
//                                  priority; absent where there are none
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace dlt::data {

class Hdf5Writer;

/// Cuts text into the words within which byte pairs are merged, as GPT-2 does: 's 't 're 've 'm 'll
/// 'd; letters, numbers or other signs, each with one space before it if there is one; the spaces
/// that are left, the last before a word apart. What is not UTF-8 counts as a sign. Words longer
/// than 512 bytes are cut. The words make up the whole text.
void for_words(std::string_view text, const std::function<void(std::string_view)>& use);

/// A vocabulary of characters (code points of UTF-8), or of byte pairs.
class Tokenizer {
 public:
  enum class Kind : std::uint8_t { characters, byte_pairs };
  struct Merge {
    std::int32_t left = 0, right = 0;
  };

  /// errors  Error(Exit::data), WHERE: in front: no tokens, one that is empty, too long or there
  /// twice; characters: one that is not a single code point; byte pairs: a byte without token, a
  /// merge of no tokens or to none
  Tokenizer(Kind kind, std::vector<std::string> tokens, std::vector<Merge> merges,
            const std::string& where);
  Tokenizer(Tokenizer&&) = default;  // moving leaves the tokens where they are; copying would not
  Tokenizer& operator=(Tokenizer&&) = default;

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  [[nodiscard]] const std::string& bytes(std::int32_t token) const {
    return tokens_[static_cast<std::size_t>(token)];
  }
  [[nodiscard]] const std::vector<std::string>& tokens() const { return tokens_; }
  [[nodiscard]] const std::vector<Merge>& merges() const { return merges_; }

  /// errors  Error(Exit::data) naming the characters that are not in the vocabulary and the byte of
  /// the first; WHERE: in front
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text,
                                                 const std::string& where) const;
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const;

  /// "65 characters", "1024 byte pairs"
  [[nodiscard]] std::string text() const;

 private:
  struct Rule {
    std::int32_t rank = 0, result = 0;
  };
  void learn_merges(const std::string& where);
  void encode_word(std::string_view word, std::vector<std::int32_t>& out) const;
  [[nodiscard]] const Rule* rule(std::int32_t left, std::int32_t right) const;
  [[nodiscard]] std::vector<std::int32_t> encode_characters(std::string_view text,
                                                            const std::string& where) const;

  Kind kind_;
  std::vector<std::string> tokens_;
  std::vector<Merge> merges_;
  std::unordered_map<std::string_view, std::int32_t> ids_;  // of the tokens' bytes, in tokens_
  std::unordered_map<std::uint64_t, Rule> rules_;
};

/// errors  Error(Exit::missing) no such file; Error(Exit::data) it holds no vocabulary, or a broken
/// one
[[nodiscard]] Tokenizer read_vocabulary(const std::string& file);
/// None where the file holds no vocabulary.
[[nodiscard]] std::optional<Tokenizer> find_vocabulary(const std::string& file);
void write_vocabulary(Hdf5Writer& writer, const Tokenizer& tokenizer);

}  // namespace dlt::data
