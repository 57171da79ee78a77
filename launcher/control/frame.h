// SPDX-License-Identifier: Apache-2.0
// The bytes of messages.h on an authenticated connection; docs/control_protocol.md has them one by
// one. Nothing here knows a socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/hmac.h"
#include "launcher/control/messages.h"
#include "launcher/control/refusal.h"

namespace dlt::launcher {

inline constexpr std::size_t kHeader_bytes = 24;
inline constexpr std::size_t kMac_bytes = 32;
inline constexpr std::size_t kMax_host_bytes = 255;
inline constexpr std::size_t kMax_text_bytes = 4000;
inline constexpr std::size_t kMax_payload_bytes = 4096;
inline constexpr std::size_t kMax_frame_bytes = kHeader_bytes + kMax_payload_bytes + kMac_bytes;
inline constexpr std::int32_t kMax_world_size = 1 << 24;

/// Makes the frames of one direction of one connection, in sequence.
class FrameWriter {
 public:
  FrameWriter(const Bytes32& key, std::int64_t generation) : key_(key), generation_(generation) {}
  /// The frame's bytes. A host or text that is too long is cut.
  [[nodiscard]] std::string frame(const FromRank& message);
  [[nodiscard]] std::string frame(const FromLauncher& message);

 private:
  template <typename Message>
  [[nodiscard]] std::string seal_message(const Message& message);
  [[nodiscard]] std::string seal(std::uint8_t type, std::string_view payload);

  Bytes32 key_;
  std::int64_t generation_;
  std::uint64_t next_sequence_ = 0;
};

/// Takes the bytes of one direction of one connection, as they come, and gives whole messages.
/// Message is FromRank or FromLauncher. Holds at most one frame and what was appended last.
template <typename Message>
class FrameReader {
 public:
  FrameReader(const Bytes32& key, std::int64_t generation) : key_(key), generation_(generation) {}
  void append(std::span<const std::byte> bytes);
  /// The next message; nothing if there is none yet, or if something was refused: then refusal()
  /// tells what, and there will be no other message.
  /// Of a message's text, bytes that are no UTF-8 and control characters but newlines are escaped.
  [[nodiscard]] std::optional<Message> next();
  [[nodiscard]] Refusal refusal() const { return refusal_; }
  [[nodiscard]] std::size_t num_buffered_bytes() const { return buffer_.size(); }

 private:
  [[nodiscard]] std::optional<Message> take();

  Bytes32 key_;
  std::int64_t generation_;
  std::uint64_t next_sequence_ = 0;
  std::string buffer_;
  Refusal refusal_ = Refusal::none;
};

extern template class FrameReader<FromRank>;
extern template class FrameReader<FromLauncher>;

}  // namespace dlt::launcher
