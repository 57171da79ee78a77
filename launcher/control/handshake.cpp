// SPDX-License-Identifier: Apache-2.0
#include "launcher/control/handshake.h"

#include <string_view>

#include "launcher/control/bytes.h"
#include "launcher/control/frame.h"

namespace dlt::launcher {
namespace {

constexpr std::string_view kMagic("dltrain\x01", 8);  // the last byte is the protocol's version

std::string text_of(const Bytes32& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Whatever is proved or derived is bound to its purpose and to both ends' nonces.
Bytes32 derive(const Bytes32& token, std::string_view purpose, const std::string& transcript) {
  std::string message(purpose);
  message += '\0';
  message += transcript;
  return hmac_sha256(token, as_bytes(message));
}

constexpr std::string_view kLauncher_proof = "dltrain control 1: dlrun knows the token";
constexpr std::string_view kRank_proof = "dltrain control 1: the rank knows the token";

SessionKeys session_keys(const Bytes32& token, const std::string& transcript) {
  return {.to_launcher = derive(token, "dltrain control 1: rank to dlrun", transcript),
          .to_rank = derive(token, "dltrain control 1: dlrun to rank", transcript)};
}

}  // namespace

std::string ServerHandshake::receive(std::span<const std::byte> bytes) {
  if (done_ || refusal_ != Refusal::none) return {};
  const std::size_t before = received_.size();
  const std::size_t due = before < kOpening_bytes ? kOpening_bytes : kMax_bytes;
  if (before + bytes.size() > due) {
    refusal_ = Refusal::opening;
    return {};
  }
  received_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string_view seen = std::string_view(received_).substr(0, kMagic.size());
  if (seen != kMagic.substr(0, seen.size())) {
    refusal_ = Refusal::opening;
    return {};
  }
  if (received_.size() < due) return {};
  const std::string transcript = received_.substr(0, kOpening_bytes) + text_of(nonce_);
  if (due == kOpening_bytes) {
    ByteReader in(std::string_view(received_).substr(kMagic.size()));
    caller_.generation = in.take<std::int64_t>();
    caller_.rank = in.take<std::int32_t>();
    if (caller_.generation < 0 || caller_.rank < 0 || caller_.rank >= kMax_world_size) {
      refusal_ = Refusal::opening;
      return {};
    }
    return text_of(nonce_) + text_of(derive(token_, kLauncher_proof, transcript));
  }
  const Bytes32 proof = derive(token_, kRank_proof, transcript);
  if (!equal_secrets(proof, as_bytes(std::string_view(received_).substr(kOpening_bytes)))) {
    refusal_ = Refusal::token;
    return {};
  }
  keys_ = session_keys(token_, transcript);
  done_ = true;
  return {};
}

ClientHandshake::ClientHandshake(const Bytes32& token, const Bytes32& nonce, const Caller& caller)
    : token_(token), opening_(kMagic) {
  put(opening_, caller.generation);
  put(opening_, caller.rank);
  opening_ += text_of(nonce);
}

std::string ClientHandshake::receive(std::span<const std::byte> bytes) {
  if (done_ || refusal_ != Refusal::none) return {};
  if (received_.size() + bytes.size() > kChallenge_bytes) {
    refusal_ = Refusal::opening;
    return {};
  }
  received_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (received_.size() < kChallenge_bytes) return {};
  const std::size_t nonce_bytes = kChallenge_bytes - kProof_bytes;
  const std::string transcript = opening_ + received_.substr(0, nonce_bytes);
  const Bytes32 proof = derive(token_, kLauncher_proof, transcript);
  if (!equal_secrets(proof, as_bytes(std::string_view(received_).substr(nonce_bytes)))) {
    refusal_ = Refusal::token;
    return std::string(kProof_bytes, '\0');
  }
  keys_ = session_keys(token_, transcript);
  done_ = true;
  return text_of(derive(token_, kRank_proof, transcript));
}

}  // namespace dlt::launcher
