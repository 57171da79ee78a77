// SPDX-License-Identifier: Apache-2.0
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/tokenizer.h"
#include "import/bpe_trainer.h"
#include "import/files.h"
#include "import/import.h"

namespace dlt::import_ {
namespace {

using data::Tokenizer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_table;
using testing::TempDir;

TextOptions options_for(const TempDir& dir, const std::string& text) {
  TextOptions options;
  options.inputs = {dir.put("in.txt", text)};
  options.output = dir.file("out.h5");
  return options;
}

std::string all_text(const std::string& file) {
  const Tokenizer tokenizer = data::read_vocabulary(file);
  std::string out;
  for (const char* part : {"/train/tokens", "/val/tokens"}) {
    for (const float token : read_table(file, part).numbers) {
      out += tokenizer.bytes(static_cast<std::int32_t>(token));
    }
  }
  return out;
}

TEST(ImportText, CharactersAreSortedAndSplitByCharacters) {
  const TempDir dir;
  TextOptions options = options_for(dir, "éaébéaébc\n");
  options.split = 0.55;
  const ImportReport report = import_text(options);
  EXPECT_EQ(report.items[0].type, "u8");
  // \n a b c é
  EXPECT_THAT(read_table(options.output, "/train/tokens").numbers, ElementsAre(4, 1, 4, 2, 4));
  EXPECT_THAT(read_table(options.output, "/val/tokens").numbers, ElementsAre(1, 4, 2, 3, 0));
  EXPECT_THAT(data::read_vocabulary(options.output).tokens(),
              ElementsAre("\n", "a", "b", "c", "é"));
}

TEST(ImportText, FilesAreOneTextAndMayBeGzipped) {
  const TempDir dir;
  TextOptions options = options_for(dir, "ab");
  options.inputs.push_back(dir.put_gz("more.gz", "ba"));
  options.split = 1.0;
  const ImportReport report = import_text(options);
  EXPECT_THAT(read_table(options.output, "/train/tokens").numbers, ElementsAre(0, 1, 1, 0));
  ASSERT_EQ(report.items.size(), 1u);
}

TEST(ImportText, BytePairsGiveAnyTextBack) {
  const TempDir dir;
  std::string text;
  for (int i = 0; i < 300; ++i)
    text += "the thin thing, it's \xFFover é " + std::to_string(i) + "\n";
  TextOptions options = options_for(dir, text);
  options.tokenizer = Tokenizer::Kind::byte_pairs;
  options.vocabulary_size = 280;
  const ImportReport report = import_text(options);
  EXPECT_EQ(report.items[0].type, "u16");
  EXPECT_EQ(all_text(options.output), text);
  EXPECT_EQ(data::read_vocabulary(options.output).size(), 280);
  EXPECT_LT(read_table(options.output, "/train/tokens").rows,
            static_cast<std::int64_t>(text.size() / 2));
}

TEST(ImportText, SaysWhereTheTextHasNoMorePairs) {
  const TempDir dir;
  TextOptions options = options_for(dir, "aaaa bbbb");
  options.tokenizer = Tokenizer::Kind::byte_pairs;
  options.split = 1.0;
  const ImportReport report = import_text(options);
  EXPECT_THAT(report.notes.back(), HasSubstr("no pair stands twice"));
}

/// The same by counting all pairs anew each time.
std::vector<std::string> slow_byte_pairs(const std::string& text, std::size_t num_tokens) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  std::vector<std::vector<int>> words;
  data::for_words(text, [&](std::string_view word) {
    words.emplace_back();
    for (const char c : word) words.back().push_back(static_cast<unsigned char>(c));
  });
  while (tokens.size() < num_tokens) {
    std::map<std::pair<int, int>, int> counts;
    for (const auto& word : words) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
    }
    std::pair<std::pair<int, int>, int> best{{0, 0}, 1};
    for (const auto& entry : counts) {
      if (entry.second > best.second) best = entry;  // the first of equals has the smallest ids
    }
    if (best.second < 2) break;
    const auto [left, right] = best.first;
    const std::string joined =
        tokens[static_cast<std::size_t>(left)] + tokens[static_cast<std::size_t>(right)];
    const auto found = std::find(tokens.begin(), tokens.end(), joined);
    const int id = static_cast<int>(found - tokens.begin());
    if (found == tokens.end()) tokens.push_back(joined);
    for (auto& word : words) {
      std::vector<int> merged;
      for (std::size_t i = 0; i < word.size(); ++i) {
        const bool here = i + 1 < word.size() && word[i] == left && word[i + 1] == right;
        merged.push_back(here ? id : word[i]);
        if (here) ++i;
      }
      word = merged;
    }
  }
  return tokens;
}

TEST(BytePairs, AreThoseOfTheSimpleAlgorithm) {
  std::string text;
  unsigned state = 1;
  for (int i = 0; i < 3000; ++i) {
    state = state * 1664525u + 1013904223u;
    text += "aab ccd\naaa"[(state >> 16) % 11];
  }
  const Tokenizer tokenizer = train_byte_pairs(text, 400);
  EXPECT_EQ(tokenizer.tokens(), slow_byte_pairs(text, 400));
  EXPECT_GT(tokenizer.size(), 300);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, "text")), text);
}

TEST(ImportText, UsesAnotherFilesVocabulary) {
  const TempDir dir;
  TextOptions first = options_for(dir, "abcabcabca");
  (void)import_text(first);
  TextOptions second = options_for(dir, "cab");
  second.output = dir.file("second.h5");
  second.vocabulary = first.output;
  second.split = 1.0;
  (void)import_text(second);
  EXPECT_THAT(read_table(second.output, "/train/tokens").numbers, ElementsAre(2, 0, 1));
  second.inputs = {dir.put("in2.txt", "abd")};
  EXPECT_REFUSED(import_text(second), Exit::data, HasSubstr("in2.txt: byte 2"),
                 HasSubstr("'d' (U+0064)"));
}

/// GPT-2's alphabet for the bytes that are no printable character: byte b is U+0100 + its rank.
std::string gpt2_json(const std::string& more) {
  std::string out = "{";
  int rank = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    char code[16];
    std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(shown ? byte : 256 + rank++));
    out += "\"" + std::string(code) + "\": " + std::to_string(255 - byte) + ", ";
  }
  return out + more + "}";
}

TEST(ImportText, ReadsTheVocabularyOfGpt2) {
  const TempDir dir;
  TextOptions options = options_for(dir, "the the\n");
  options.split = 1.0;
  options.vocabulary = dir.put(
      "vocab.json", gpt2_json(R"("th": 256, "the": 257, "\u0120the": 258, "<|endoftext|>": 259)"));
  (void)dir.put("merges.txt", "#version: 0.2\nt h\r\nth e\nĠ the\n");
  (void)import_text(options);
  EXPECT_THAT(read_table(options.output, "/train/tokens").numbers,
              ElementsAre(257, 258, 255 - '\n'));
  EXPECT_EQ(data::read_vocabulary(options.output).bytes(258), " the");

  options.merges = dir.put("other.txt", "#version: 0.2\nt h\nth e\n\n t\n");
  EXPECT_REFUSED(import_text(options), Exit::data, HasSubstr("other.txt:5: expected two tokens"));
  options.merges = dir.put("other.txt", "t h\nnone h\n");
  EXPECT_REFUSED(import_text(options), Exit::data, HasSubstr("other.txt:2: expected two tokens"));
  options.merges = dir.file("nowhere.txt");
  EXPECT_REFUSED(import_text(options), Exit::missing, HasSubstr("nowhere.txt"));
  options.merges = dir.put("none.txt", "");
  for (const char* const broken : {"", "[1]", "{\"a\": ", "{\"a\": 1}", "{\"a\": -1}",
                                   "{\"a\": 0, \"b\": 0}", "{\"a\": \"x\"}", "{\"a\": 0}"}) {
    options.vocabulary = dir.put("vocab.json", broken);
    EXPECT_REFUSED(import_text(options), Exit::data, HasSubstr("vocab.json: "));
  }
}

TEST(ImportText, RefusesMistakes) {
  const TempDir dir;
  TextOptions options = options_for(dir, "good");
  options.inputs.push_back(dir.put("bad.txt", "ab\xC3"));
  EXPECT_REFUSED(import_text(options), Exit::data, HasSubstr("bad.txt: byte 2 is not UTF-8"),
                 HasSubstr("--tokenizer bpe"));
  options.inputs[1] = dir.file("nowhere.txt");
  EXPECT_REFUSED(import_text(options), Exit::missing, HasSubstr("nowhere.txt"));
  options = options_for(dir, "");
  EXPECT_REFUSED(import_text(options), Exit::data, HasSubstr("0 bytes of text are too few"));
  options = options_for(dir, "a");
  EXPECT_REFUSED(import_text(options), Exit::data, HasSubstr("too few to split at 0.9"));
  for (const double split : {0.0, -1.0, 1.5}) {
    options.split = split;
    EXPECT_REFUSED(import_text(options), Exit::usage, HasSubstr("split: expected"));
  }
  options = options_for(dir, "abc");
  options.output = options.inputs[0];
  EXPECT_REFUSED(import_text(options), Exit::usage, HasSubstr("input and output at once"));
  options.inputs.clear();
  EXPECT_REFUSED(import_text(options), Exit::usage, HasSubstr("no input file"));
  EXPECT_EQ(dir.num_files(), 2u);  // in.txt and bad.txt: nothing half-written
}

}  // namespace
}  // namespace dlt::import_
