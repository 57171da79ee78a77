// SPDX-License-Identifier: Apache-2.0
#include "launcher/control/handshake.h"

#include <gtest/gtest.h>

#include "launcher/control/control_support.h"

namespace dlt::launcher {
namespace {

using test::as_bytes;

constexpr Bytes32 kToken{std::byte{7}};
constexpr Bytes32 kOther_token{std::byte{8}};
constexpr Bytes32 kServer_nonce{std::byte{1}};
constexpr Bytes32 kClient_nonce{std::byte{2}};
constexpr Caller kCaller{.rank = 5, .generation = 9};

TEST(Handshake, BothEndsComeToTheSameKeys) {
  ClientHandshake client(kToken, kClient_nonce, kCaller);
  ServerHandshake server(kToken, kServer_nonce);
  const std::string challenge = server.receive(as_bytes(client.opening()));
  EXPECT_FALSE(server.done());
  const std::string proof = client.receive(as_bytes(challenge));
  EXPECT_TRUE(client.done());
  EXPECT_EQ(server.receive(as_bytes(proof)), "");
  ASSERT_TRUE(server.done());
  EXPECT_EQ(server.caller().rank, 5);
  EXPECT_EQ(server.caller().generation, 9);
  EXPECT_EQ(server.keys().to_rank, client.keys().to_rank);
  EXPECT_EQ(server.keys().to_launcher, client.keys().to_launcher);
  EXPECT_NE(server.keys().to_rank, server.keys().to_launcher);
  EXPECT_EQ(client.opening().size(), kOpening_bytes);
  EXPECT_EQ(challenge.size(), kChallenge_bytes);
  EXPECT_EQ(proof.size(), kProof_bytes);
  EXPECT_LE(client.opening().size() + proof.size(), 256U);
}

TEST(Handshake, ByteAfterByteIsTheSame) {
  ClientHandshake client(kToken, kClient_nonce, kCaller);
  ServerHandshake server(kToken, kServer_nonce);
  std::string challenge, proof;
  for (const char& byte : client.opening()) challenge += server.receive(as_bytes({&byte, 1}));
  for (const char& byte : challenge) proof += client.receive(as_bytes({&byte, 1}));
  for (const char& byte : proof) EXPECT_EQ(server.receive(as_bytes({&byte, 1})), "");
  EXPECT_TRUE(server.done());
}

TEST(Handshake, ARankSeesThatDlrunHoldsAnotherToken) {
  ClientHandshake client(kToken, kClient_nonce, kCaller);
  ServerHandshake server(kOther_token, kServer_nonce);
  const std::string proof = client.receive(as_bytes(server.receive(as_bytes(client.opening()))));
  EXPECT_EQ(client.refusal(), Refusal::token);
  EXPECT_FALSE(client.done());
  EXPECT_EQ(proof, std::string(kProof_bytes, '\0'));  // proves nothing
  (void)server.receive(as_bytes(proof));
  EXPECT_EQ(server.refusal(), Refusal::token);
}

TEST(Handshake, ARecordedOneIsOfNoUse) {
  ClientHandshake client(kToken, kClient_nonce, kCaller);
  ServerHandshake first(kToken, kServer_nonce);
  const std::string proof = client.receive(as_bytes(first.receive(as_bytes(client.opening()))));
  ServerHandshake second(kToken, Bytes32{std::byte{3}});
  (void)second.receive(as_bytes(client.opening()));
  (void)second.receive(as_bytes(proof));
  EXPECT_EQ(second.refusal(), Refusal::token);
}

TEST(Handshake, AReflectedProofIsOfNoUse) {
  ClientHandshake client(kToken, kClient_nonce, kCaller);
  ServerHandshake server(kToken, kServer_nonce);
  const std::string challenge = server.receive(as_bytes(client.opening()));
  (void)server.receive(as_bytes(challenge.substr(32)));  // dlrun's own
  EXPECT_EQ(server.refusal(), Refusal::token);
}

TEST(Handshake, RankAndGenerationArePartOfTheProof) {
  ClientHandshake client(kToken, kClient_nonce, kCaller);
  std::string opening = client.opening();
  opening[16] ^= 1;  // the rank
  ServerHandshake server(kToken, kServer_nonce);
  (void)client.receive(as_bytes(server.receive(as_bytes(opening))));
  EXPECT_EQ(client.refusal(), Refusal::token);
}

TEST(Handshake, RefusesOpeningsAtTheFirstWrongByte) {
  ServerHandshake wrong(kToken, kServer_nonce);
  (void)wrong.receive(as_bytes("G"));
  EXPECT_EQ(wrong.refusal(), Refusal::opening);
  ServerHandshake version(kToken, kServer_nonce);
  (void)version.receive(as_bytes(std::string_view("dltrain\x02", 8)));
  EXPECT_EQ(version.refusal(), Refusal::opening);
  ServerHandshake rank(kToken, kServer_nonce);
  (void)rank.receive(as_bytes(ClientHandshake(kToken, kClient_nonce, {.rank = -1}).opening()));
  EXPECT_EQ(rank.refusal(), Refusal::opening);
}

TEST(Handshake, RefusesBytesThatAreNotDueYet) {
  const ClientHandshake client(kToken, kClient_nonce, kCaller);
  ServerHandshake server(kToken, kServer_nonce);
  EXPECT_EQ(server.receive(as_bytes(client.opening() + "x")), "");
  EXPECT_EQ(server.refusal(), Refusal::opening);
  ClientHandshake eager(kToken, kClient_nonce, kCaller);
  (void)eager.receive(as_bytes(std::string(kChallenge_bytes + 1, 'x')));
  EXPECT_EQ(eager.refusal(), Refusal::opening);
}

}  // namespace
}  // namespace dlt::launcher
