// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/manifest.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/hash.h"
#include "checkpoint/files.h"
#include "support/temp_folder.h"

namespace dlt::checkpoint::test {
namespace {

using dlt::test::error_of;
using testing::HasSubstr;

Manifest sample() {
  Manifest out;
  out.step = 123;
  out.epoch = 4;
  out.epoch_samples = 640;
  out.leaves = 8;
  out.config_fingerprint = "fp";
  out.config_yaml = "run: {name: \"x\\\"y\"}\n# manifest_sha256\": \"\n";
  out.weights_hash = sha256_hex({});
  out.files[kModelFile] = {.num_bytes = 1000, .sha256 = sha256_hex({})};
  out.files[kOptimizerFile] = {.num_bytes = std::int64_t{1} << 62, .sha256 = sha256_hex({})};
  out.created_wall_s = 1700000000;
  return out;
}

/// The text with another hash at its end, right for what stands before.
std::string sealed(std::string text) {
  constexpr std::size_t kTail = 64 + 4;
  if (text.size() < kTail) return text;
  text.erase(text.size() - kTail, 64);
  Sha256 hash;
  hash.update(text);
  text.insert(text.size() - 4, hash.hex());
  return text;
}

std::string replaced(const std::string& from, const std::string& to) {
  std::string text = encode_manifest(sample());
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return sealed(text.replace(at, from.size(), to));
}

TEST(Manifest, ReadsBackWhatItWrote) {
  EXPECT_EQ(decode_manifest("m", encode_manifest(sample())), sample());
}

TEST(Manifest, HasTheFormOfItsDocumentation) {
  const std::string text = encode_manifest(sample());
  EXPECT_TRUE(
      text.starts_with("{\n  \"format\": \"dltrain-checkpoint\",\n  \"format_version\": 1,\n"
                       "  \"step\": 123,\n  \"epoch\": 4,\n"))
      << text;
  EXPECT_EQ(text.substr(text.size() - 88, 20), "\"manifest_sha256\": \"");
  EXPECT_EQ(sealed(text), text);
}

TEST(Manifest, FindsEveryFlippedBit) {
  const std::string good = encode_manifest(sample());
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      EXPECT_THROW((void)decode_manifest("m", bad), Error) << "byte " << i << ", bit " << bit;
    }
  }
}

TEST(Manifest, FindsAnAddedSpaceAndACut) {
  const std::string good = encode_manifest(sample());
  for (std::size_t i = 0; i <= good.size(); ++i) {
    std::string bad = good;
    bad.insert(i, " ");
    EXPECT_THROW((void)decode_manifest("m", bad), Error) << i;
  }
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_THROW((void)decode_manifest("m", good.substr(0, i)), Error) << i;
  }
}

TEST(Manifest, SaysWhichHashWasExpectedAndFound) {
  std::string bad = encode_manifest(sample());
  bad[30] = '!';
  EXPECT_THAT(error_of([&] { (void)decode_manifest("dir/manifest.json", bad); }),
              testing::ContainsRegex("65: dir/manifest.json: changed since it was written: SHA-256 "
                                     "is [0-9a-f]{12}..., want manifest_sha256 [0-9a-f]{12}..."));
}

TEST(Manifest, NamesTheDefectOfAHostileText) {
  const std::vector<std::tuple<std::string, std::string, std::string>> cases{
      {"\"format_version\": 1", "\"format_version\": 2", "format version 2, this program reads 1"},
      {"dltrain-checkpoint", "other", "not a checkpoint's manifest"},
      {"\"step\": 123", "\"step\": -1", "'step': want an integer of at least 0, got -1"},
      {"\"step\": 123", "\"step\": 1.5", "'step': want an integer"},
      {"\"step\": 123", "\"step\": 9223372036854775808", "'step': want an integer"},
      {"\"step\": 123", "\"step\": \"x\"", "'step': want an integer"},
      {"\"step\": 123", "\"step\": 123, \"step\": 5", "duplicate key 'step'"},
      {"\"leaves\": 8", "\"leaves\": 0", "'leaves': want an integer of at least 1"},
      {"\"leaves\": 8,", "", "no key 'leaves'"},
      {"\"leaves\": 8", "\"leaves\": 8, \"extra\": 1", "unknown key 'extra'"},
      {"\"config_fingerprint\": \"fp\"", "\"config_fingerprint\": [[[[]]]]", "nested too deeply"},
      {"\"config_fingerprint\": \"fp\"", "\"config_fingerprint\": 1", "want a string"},
      {"model.safetensors", "../../model.safetensors", "no key 'model.safetensors'"},
      {"\"bytes\": 1000", "\"bytes\": \"a\"", "'bytes': want an integer"},
      {"\"sha256\": \"", "\"sha256\": \"A", "'sha256': want 64 hex digits"},
      {"\"files\": {", "\"files\": {\"x\": 1,", "files: unknown key 'x'"},
      {"\"leaves\": 8", "\"leaves\": 8 8", "not a JSON object"}};
  for (const auto& [from, to, message] : cases) {
    const std::string text = replaced(from, to);
    EXPECT_THAT(error_of([&] { (void)decode_manifest("m", text); }),
                testing::AllOf(testing::StartsWith("65: m: "), HasSubstr(message)))
        << from << " -> " << to;
  }
}

TEST(Manifest, ThrowsNothingButErrorsOnMutatedTextWithAFittingHash) {
  const std::string good = encode_manifest(sample());
  const std::string letters = "{}[]\",:\\0129-.eEtfn \n\xff";
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  const auto below = [&random](std::size_t n) { return std::size_t{random()} % n; };
  int num_errors = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string text = good;
    for (std::size_t k = below(3) + 1; k > 0; --k) {
      const std::size_t at = below(text.size() - 100);
      if (below(2) == 0) {
        text[at] = letters[below(letters.size())];
      } else {
        text.insert(at, text.substr(below(text.size()), below(30)));
      }
    }
    try {
      (void)decode_manifest("m", sealed(text));
    } catch (const Error& error) {
      ++num_errors;
      EXPECT_EQ(error.exit(), Exit::data) << "seed " << seed << ", case " << i;
    }
  }
  EXPECT_GT(num_errors, 1000) << "seed " << seed;
}

TEST(Manifest, RefusesToWriteWhatItWouldNotRead) {
  Manifest manifest = sample();
  manifest.config_yaml = "\xff";
  EXPECT_THAT(error_of([&] { (void)encode_manifest(manifest); }), HasSubstr("78: "));
  manifest.config_yaml = std::string(kMaxManifest_bytes, 'x');
  EXPECT_THAT(error_of([&] { (void)encode_manifest(manifest); }), HasSubstr("want at most"));
}

}  // namespace
}  // namespace dlt::checkpoint::test
