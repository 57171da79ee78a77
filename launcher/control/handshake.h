// SPDX-License-Identifier: Apache-2.0
// How the two ends of a connection prove to each other that they know the job's token, without
// sending it; docs/control_protocol.md has the bytes. Nothing here knows a socket or a clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/hmac.h"
#include "launcher/control/refusal.h"

namespace dlt::launcher {

inline constexpr std::size_t kOpening_bytes = 52;
inline constexpr std::size_t kProof_bytes = 32;
inline constexpr std::size_t kChallenge_bytes = 64;

/// Of one connection, made of the token and both ends' nonces.
struct SessionKeys {
  Bytes32 to_launcher{};
  Bytes32 to_rank{};
};

/// Who opens a connection.
struct Caller {
  std::int32_t rank = 0;
  std::int64_t generation = 0;
};

/// dlrun's side: takes the opening, gives the challenge, takes the proof.
class ServerHandshake {
 public:
  /// nonce: random, of this connection alone
  ServerHandshake(const Bytes32& token, const Bytes32& nonce) : token_(token), nonce_(nonce) {}
  /// Returns what is to be sent, mostly "". More bytes than are due are refused.
  [[nodiscard]] std::string receive(std::span<const std::byte> bytes);
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] Refusal refusal() const { return refusal_; }
  /// Known when the opening is there, proved when done().
  [[nodiscard]] const Caller& caller() const { return caller_; }
  [[nodiscard]] const SessionKeys& keys() const { return keys_; }
  /// Bytes that receive() can take at most, over all.
  static constexpr std::size_t kMax_bytes = kOpening_bytes + kProof_bytes;

 private:
  Bytes32 token_, nonce_;
  std::string received_;
  Caller caller_;
  SessionKeys keys_;
  bool done_ = false;
  Refusal refusal_ = Refusal::none;
};

/// A rank's side.
class ClientHandshake {
 public:
  ClientHandshake(const Bytes32& token, const Bytes32& nonce, const Caller& caller);
  /// The first bytes to be sent.
  [[nodiscard]] const std::string& opening() const { return opening_; }
  /// Returns what is to be sent: the proof, or, if dlrun does not know the token, a proof of
  /// nothing, so that dlrun can tell what went wrong.
  [[nodiscard]] std::string receive(std::span<const std::byte> bytes);
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] Refusal refusal() const { return refusal_; }
  [[nodiscard]] const SessionKeys& keys() const { return keys_; }

 private:
  Bytes32 token_;
  std::string opening_, received_;
  SessionKeys keys_;
  bool done_ = false;
  Refusal refusal_ = Refusal::none;
};

}  // namespace dlt::launcher
