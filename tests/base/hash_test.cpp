// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace dlt {
namespace {

std::string sha(std::string_view text) { return sha256_hex(std::as_bytes(std::span(text))); }

TEST(Sha256, MatchesTheVectorsOfFips180) {
  EXPECT_EQ(sha(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesGiveTheHashOfTheWhole) {
  Sha256 hash;
  hash.update("ab");
  hash.update("");
  hash.update("c");
  EXPECT_EQ(hash.hex(), sha("abc"));
}

TEST(Sha256, IsUsedUpByHex) {
  Sha256 hash;
  (void)hash.hex();
  EXPECT_THROW((void)hash.hex(), Error);
  EXPECT_THROW(hash.update("x"), Error);
}

TEST(Xxh3, MatchesThePublishedValueOfTheEmptyInput) { EXPECT_EQ(xxh3(""), 0x2d06800538d394c2ull); }

TEST(Xxh3, DependsOnEveryByteAndOnTheSeed) {
  std::string text(1000, 'x');
  const std::uint64_t before = xxh3(text);
  EXPECT_NE(xxh3(text, 1), before);
  for (char& c : text) {
    c ^= 1;
    EXPECT_NE(xxh3(text), before);
    c ^= 1;
  }
  EXPECT_EQ(xxh3(text), before);
}

}  // namespace
}  // namespace dlt
