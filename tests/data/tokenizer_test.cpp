// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer.h"

#include <fstream>
#include <random>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/char_class.h"
#include "data/h5_files.h"
#include "data/info.h"
#include "data/writer.h"

namespace dlt::data {
namespace {

using testing::caught;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::make_h5;
using testing::put;
using testing::TempDir;
using Kind = Tokenizer::Kind;

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  for_words(text, [&](std::string_view word) { out.emplace_back(word); });
  return out;
}

std::vector<std::string> bytes_and(const std::vector<std::string>& more) {
  std::vector<std::string> out;
  for (int byte = 0; byte < 256; ++byte) out.emplace_back(1, static_cast<char>(byte));
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

/// th, the, " the", in that order of priority.
Tokenizer the_tokenizer() {
  return {Kind::byte_pairs,
          bytes_and({"th", "the", " the"}),
          {{'t', 'h'}, {256, 'e'}, {' ', 257}},
          "test"};
}

std::string from_hex(const std::string& hex) {
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return out;
}

TEST(Words, AreThoseOfTheReferencePattern) {
  std::ifstream file("tests/golden/words.txt");
  std::string line;
  int num_lines = 0;
  for (; std::getline(file, line); ++num_lines) {
    std::istringstream fields(line);
    std::vector<std::string> expected;
    std::string text;
    for (std::string hex; fields >> hex;) {
      expected.push_back(from_hex(hex));
      text += expected.back();
    }
    EXPECT_EQ(words_of(text), expected) << line;
  }
  EXPECT_GT(num_lines, 100);
}

TEST(Words, MakeUpAnyBytesAndHaveALimit) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    std::string text(random() % 300, ' ');
    for (char& c : text) c = static_cast<char>(random() % 4 == 0 ? ' ' : random());
    std::string joined;
    for (const std::string& word : words_of(text)) {
      EXPECT_FALSE(word.empty());
      joined += word;
    }
    ASSERT_EQ(joined, text);
  }
  for (const std::string& word : words_of(std::string(2000, 'a'))) EXPECT_LE(word.size(), 512u);
}

TEST(CharClass, KnowsAsciiAndBeyond) {
  EXPECT_EQ(char_class('Q'), CharClass::letter);
  EXPECT_EQ(char_class('_'), CharClass::other);
  EXPECT_EQ(char_class('7'), CharClass::number);
  EXPECT_EQ(char_class('\v'), CharClass::space);
  EXPECT_EQ(char_class(0xE9), CharClass::letter);    // é
  EXPECT_EQ(char_class(0xD7), CharClass::other);     // multiplication sign, between letters
  EXPECT_EQ(char_class(0x663), CharClass::number);   // Arabic-Indic three
  EXPECT_EQ(char_class(0x3000), CharClass::space);   // ideographic
  EXPECT_EQ(char_class(0x1F600), CharClass::other);  // a face
  EXPECT_EQ(char_class(0x10FFFF), CharClass::other);
}

TEST(Tokenizer, CharactersAreCodePoints) {
  const Tokenizer tokenizer(Kind::characters, {"\n", "a", "é", "😀"}, {}, "test");
  const std::vector<std::int32_t> ids = tokenizer.encode("aé\n😀a", "here");
  EXPECT_THAT(ids, ElementsAre(1, 2, 0, 3, 1));
  EXPECT_EQ(tokenizer.decode(ids), "aé\n😀a");
  EXPECT_EQ(tokenizer.text(), "4 characters");
}

TEST(Tokenizer, NamesTheCharactersThatAreNotInItsVocabulary) {
  const Tokenizer tokenizer(Kind::characters, {"a", "b"}, {}, "test");
  EXPECT_REFUSED(tokenizer.encode("abxaéx\n\xFF", "--prompt"), Exit::data,
                 HasSubstr("--prompt: byte 2: not in the vocabulary of 2 characters: 'x' (U+0078), "
                           "'é' (U+00E9), '\\n' (U+000A), byte 0xFF (not UTF-8)"));
  EXPECT_REFUSED(tokenizer.encode("cdefghijklmnopqrstuvw", "--prompt"), Exit::data,
                 HasSubstr("'l' (U+006C), ..."));
}

TEST(Tokenizer, MergesBytePairsInTheirOrderWithinWords) {
  const Tokenizer tokenizer = the_tokenizer();
  EXPECT_THAT(tokenizer.encode("the the th", "here"), ElementsAre(257, 258, ' ', 256));
  EXPECT_THAT(tokenizer.encode("t he", "here"), ElementsAre('t', ' ', 'h', 'e'));
  EXPECT_THAT(tokenizer.encode("\xFF\xC3", "here"), ElementsAre(255, 0xC3));
}

TEST(Tokenizer, BytePairsGiveEveryTextBack) {
  const Tokenizer tokenizer = the_tokenizer();
  std::mt19937_64 random(3);
  for (int round = 0; round < 100; ++round) {
    std::string text(random() % 200, ' ');
    for (char& c : text) c = "the \n'\xC3"[random() % 7];
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text, "here")), text);
  }
}

TEST(Tokenizer, RefusesBrokenVocabularies) {
  const auto make = [](Kind kind, const std::vector<std::string>& tokens,
                       const std::vector<Tokenizer::Merge>& merges) {
    return Tokenizer(kind, tokens, merges, "x.h5");
  };
  EXPECT_REFUSED(make(Kind::characters, {}, {}), Exit::data, HasSubstr("x.h5: "));
  EXPECT_REFUSED(make(Kind::characters, {"a", ""}, {}), Exit::data, HasSubstr("token 1 has 0"));
  EXPECT_REFUSED(make(Kind::characters, {"ab"}, {}), Exit::data, HasSubstr("token 0 is 'ab'"));
  EXPECT_REFUSED(make(Kind::characters, {"\xFF"}, {}), Exit::data, HasSubstr("one character"));
  EXPECT_REFUSED(make(Kind::characters, {"a", "b", "a"}, {}), Exit::data,
                 HasSubstr("tokens 0 and 2 are both 'a'"));
  EXPECT_REFUSED(make(Kind::byte_pairs, {"a"}, {}), Exit::data, HasSubstr("byte 0 alone"));
  EXPECT_REFUSED(make(Kind::byte_pairs, bytes_and({}), {{'a', 300}}), Exit::data,
                 HasSubstr("merge 0 joins tokens 97 and 300, of which one is not there"));
  EXPECT_REFUSED(make(Kind::byte_pairs, bytes_and({}), {{'a', 'b'}}), Exit::data,
                 HasSubstr("no token is what they make"));
}

TEST(Vocabulary, ComesBackFromTheFile) {
  const TempDir dir;
  const auto there_and_back = [&](const Tokenizer& tokenizer) {
    Hdf5Writer writer(dir.file("v.h5"));
    write_vocabulary(writer, tokenizer);
    writer.commit();
    return read_vocabulary(dir.file("v.h5"));
  };
  const Tokenizer characters = there_and_back(Tokenizer(Kind::characters, {"a", "é"}, {}, "test"));
  EXPECT_EQ(characters.kind(), Kind::characters);
  EXPECT_THAT(characters.tokens(), ElementsAre("a", "é"));
  const Tokenizer pairs = there_and_back(the_tokenizer());
  EXPECT_EQ(pairs.tokens(), the_tokenizer().tokens());
  EXPECT_THAT(pairs.encode("the the", "here"), ElementsAre(257, 258));
  const Tokenizer bytes = there_and_back(Tokenizer(Kind::byte_pairs, bytes_and({}), {}, "test"));
  EXPECT_EQ(bytes.size(), 256);
  EXPECT_THAT(to_text(describe(dir.file("v.h5"))), HasSubstr("vocabulary: 256 byte pairs"));
}

TEST(Vocabulary, MayBeMissing) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) { testing::put_f32(f, "/x", {1}, {1}); });
  EXPECT_FALSE(find_vocabulary(dir.file("a.h5")).has_value());
  EXPECT_REFUSED(read_vocabulary(dir.file("a.h5")), Exit::data, HasSubstr("no vocabulary"),
                 HasSubstr("data import text"));
  EXPECT_REFUSED(read_vocabulary(dir.file("b.h5")), Exit::missing, HasSubstr("b.h5"));
}

TEST(Vocabulary, BrokenOnesAreRefusedWithTheirPlace) {
  const TempDir dir;
  struct Parts {
    std::string kind = "char", text = "abc";
    std::vector<int> ends = {1, 2, 3}, merges;
  };
  const auto read = [&](const Parts& parts) {
    make_h5(dir.file("v.h5"), [&](hid_t f) {
      const auto put_text = [&](const char* name, const std::string& text) {
        put(f, name, H5T_STD_U8LE, {text.size()}, text.data());
      };
      put_text("/vocabulary/kind", parts.kind);
      put_text("/vocabulary/text", parts.text);
      put(f, "/vocabulary/ends", H5T_STD_I32LE, {parts.ends.size()}, parts.ends.data());
      if (!parts.merges.empty()) {
        put(f, "/vocabulary/merges", H5T_STD_I32LE, {parts.merges.size()}, parts.merges.data());
      }
    });
    return read_vocabulary(dir.file("v.h5"));
  };
  EXPECT_EQ(read({}).size(), 3);
  EXPECT_REFUSED(read({.kind = "word"}), Exit::data, HasSubstr("'word', expected char or bpe"));
  EXPECT_REFUSED(read({.ends = {1, 3, 2}}), Exit::data, HasSubstr("element 2 does not cut"));
  EXPECT_REFUSED(read({.ends = {1, 2}}), Exit::data, HasSubstr("element 2 does not cut"));
  EXPECT_REFUSED(read({.ends = {1, 2, 9}}), Exit::data, HasSubstr("element 2 does not cut"));
  EXPECT_REFUSED(read({.ends = {1, -2, 3}}), Exit::data, HasSubstr("element 1 is no whole"));
  EXPECT_REFUSED(read({.ends = {1, 1, 3}}), Exit::data, HasSubstr("token 1 has 0 bytes"));
  EXPECT_REFUSED(read({.merges = {1, 2, 3}}), Exit::data, HasSubstr("expected [merges, 2]"));
  EXPECT_THAT(to_text(describe(dir.file("v.h5"))), HasSubstr("vocabulary: unusable: "));
}

}  // namespace
}  // namespace dlt::data
