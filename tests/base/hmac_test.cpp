// SPDX-License-Identifier: Apache-2.0
#include "base/hmac.h"

#include <gtest/gtest.h>

namespace dlt {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// RFC 4231, test cases 1, 2 and 6.
TEST(Hmac, GivesThePublishedValues) {
  EXPECT_EQ(to_hex(hmac_sha256(bytes(std::string(20, '\x0b')), bytes("Hi There"))),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(to_hex(hmac_sha256(bytes("Jefe"), bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(to_hex(hmac_sha256(bytes(std::string(131, '\xaa')),
                               bytes("Test Using Larger Than Block-Size Key - Hash Key First"))),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Hmac, ComparesContentAndSize) {
  EXPECT_TRUE(equal_secrets(bytes("abc"), bytes("abc")));
  EXPECT_FALSE(equal_secrets(bytes("abc"), bytes("abd")));
  EXPECT_FALSE(equal_secrets(bytes("abc"), bytes("ab")));
}

TEST(Hmac, HexGoesBothWaysAndRefusesAllElse) {
  Bytes32 random{};
  fill_random(random);
  EXPECT_EQ(from_hex(to_hex(random)), random);
  const std::string good = to_hex(random);
  EXPECT_FALSE(from_hex(good.substr(1)));
  EXPECT_FALSE(from_hex(good + "00"));
  EXPECT_FALSE(from_hex("A" + good.substr(1)));
  EXPECT_FALSE(from_hex("g" + good.substr(1)));
}

TEST(Hmac, RandomBytesDiffer) {
  Bytes32 first{}, second{};
  fill_random(first);
  fill_random(second);
  EXPECT_NE(first, second);
}

}  // namespace
}  // namespace dlt
