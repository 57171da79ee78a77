// SPDX-License-Identifier: Apache-2.0
#include "launcher/control/frame.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "launcher/control/bytes.h"

namespace dlt::launcher {
namespace {

enum class Type : std::uint8_t { hello = 1, beat, saved, failed, bye, alive = 17, stop };

/// The first bytes of a text, without a part of a character at their end.
std::string_view cut(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  while (max_bytes > 0 && (static_cast<unsigned char>(text[max_bytes]) & 0xc0) == 0x80) --max_bytes;
  return text.substr(0, max_bytes);
}

void put_text(std::string& out, std::string_view text, std::size_t max_bytes) {
  const std::string_view kept = cut(text, max_bytes);
  put(out, static_cast<std::uint16_t>(kept.size()));
  out += kept;
}

bool is_host_character(char c) { return c > ' ' && c <= '~'; }

/// Whatever a system calls itself.
std::string fit_host(std::string host) {
  std::replace_if(
      host.begin(), host.end(), [](char c) { return !is_host_character(c); }, '?');
  return host.empty() ? "?" : host;
}

// ---- what each message looks like ---------------------------------------------------------------

void put_payload(std::string& out, const Hello& m) {
  put(out, m.rank), put(out, m.world_size), put(out, m.local_rank);
  put(out, m.pid), put(out, m.generation);
  put_text(out, fit_host(m.host), kMax_host_bytes);
}
void put_payload(std::string& out, const Beat& m) {
  put(out, static_cast<std::uint8_t>(m.mark.phase)), put(out, m.mark.step);
  put(out, m.mark.bucket), put(out, m.mark.leaf), put(out, m.mark.row);
  put(out, m.mono_s), put(out, m.marks), put(out, m.steps_per_save);
  for (const float seconds : m.phase_s) put(out, seconds);
}
void put_payload(std::string& out, const Saved& m) {
  put(out, static_cast<std::uint8_t>(m.where)), put(out, m.step);
}
void put_payload(std::string& out, const Failed& m) {
  put(out, static_cast<std::uint8_t>(m.exit)), put(out, m.origin_rank);
  put_text(out, m.text, kMax_text_bytes);
}
void put_payload(std::string& out, const Bye& m) { put(out, static_cast<std::uint8_t>(m.exit)); }
void put_payload(std::string& out, const Alive& m) { put(out, m.silent_s); }
void put_payload(std::string& out, const Stop& m) {
  put(out, static_cast<std::uint8_t>(m.reason)), put(out, m.grace_s);
}

constexpr Type type_of(const Hello&) { return Type::hello; }
constexpr Type type_of(const Beat&) { return Type::beat; }
constexpr Type type_of(const Saved&) { return Type::saved; }
constexpr Type type_of(const Failed&) { return Type::failed; }
constexpr Type type_of(const Bye&) { return Type::bye; }
constexpr Type type_of(const Alive&) { return Type::alive; }
constexpr Type type_of(const Stop&) { return Type::stop; }

// ---- strict reading: false if a number cannot be ------------------------------------------------

template <typename E>
bool take_enum(ByteReader& in, E last, E& out) {
  const auto value = in.take<std::uint8_t>();
  out = static_cast<E>(value);
  return value <= static_cast<std::uint8_t>(last);
}

bool take_exit(ByteReader& in, Exit& out) {
  const std::optional<Exit> exit = exit_of(in.take<std::uint8_t>());
  out = exit.value_or(Exit::ok);
  return exit.has_value();
}

template <typename T>
bool take_seconds(ByteReader& in, T& out) {
  out = in.take<T>();
  return std::isfinite(out) && out >= 0;
}

bool is_host(std::string_view text) {
  return !text.empty() && text.size() <= kMax_host_bytes &&
         std::all_of(text.begin(), text.end(), is_host_character);
}

std::string escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    const std::string_view bytes = text.substr(0, c.num_bytes);
    const bool control = c.code < 0x20 || (c.code >= 0x7f && c.code < 0xa0);
    if (c.valid && (!control || bytes == "\n")) {
      out += bytes;
    } else {
      out += printable(bytes);
    }
    text.remove_prefix(c.num_bytes);
  }
  return out;
}

bool take_payload(ByteReader& in, Hello& m) {
  m.rank = in.take<std::int32_t>(), m.world_size = in.take<std::int32_t>();
  m.local_rank = in.take<std::int32_t>();
  m.pid = in.take<std::int64_t>(), m.generation = in.take<std::int64_t>();
  m.host = in.take_text(in.take<std::uint16_t>());
  const auto in_job = [&](std::int32_t rank) {
    return rank >= 0 && rank < (m.world_size == 0 ? kMax_world_size : m.world_size);
  };
  return m.world_size >= 0 && m.world_size <= kMax_world_size && in_job(m.rank) &&
         in_job(m.local_rank) && m.pid > 0 && m.generation >= 0 && is_host(m.host);
}
bool take_payload(ByteReader& in, Beat& m) {
  const bool phase = take_enum(in, observe::Phase::end, m.mark.phase);
  m.mark.step = in.take<std::int64_t>();
  m.mark.bucket = in.take<std::int32_t>(), m.mark.leaf = in.take<std::int32_t>();
  m.mark.row = in.take<std::int64_t>();
  const bool time = take_seconds(in, m.mono_s);
  m.marks = in.take<std::int64_t>(), m.steps_per_save = in.take<std::int64_t>();
  bool phases = true;
  for (float& seconds : m.phase_s) phases = take_seconds(in, seconds) && phases;
  return phase && time && phases && m.mark.step >= 0 && m.mark.bucket >= -1 && m.mark.leaf >= -1 &&
         m.mark.row >= -1 && m.marks >= 0 && m.steps_per_save >= 0;
}
bool take_payload(ByteReader& in, Saved& m) {
  const bool where = take_enum(in, observe::SavedIn::disk, m.where);
  m.step = in.take<std::int64_t>();
  return where && m.step >= 0;
}
bool take_payload(ByteReader& in, Failed& m) {
  const bool exit = take_exit(in, m.exit);
  m.origin_rank = in.take<std::int32_t>();
  const std::string_view text = in.take_text(in.take<std::uint16_t>());
  if (text.size() > kMax_text_bytes) return false;
  m.text = escaped(text);
  return exit && m.origin_rank >= -1 && m.origin_rank < kMax_world_size;
}
bool take_payload(ByteReader& in, Bye& m) { return take_exit(in, m.exit); }
bool take_payload(ByteReader& in, Alive& m) { return take_seconds(in, m.silent_s); }
bool take_payload(ByteReader& in, Stop& m) {
  const bool reason = take_enum(in, Stop::Reason::more_hosts, m.reason);
  return take_seconds(in, m.grace_s) && reason;
}

template <typename Message, typename M>
std::optional<Message> decode_as(std::string_view payload) {
  ByteReader in(payload);
  M message;
  if (!take_payload(in, message) || !in.at_end()) return std::nullopt;
  return message;
}

bool known_type(std::uint8_t type, const FromRank*) {
  return type >= static_cast<std::uint8_t>(Type::hello) &&
         type <= static_cast<std::uint8_t>(Type::bye);
}
bool known_type(std::uint8_t type, const FromLauncher*) {
  return type == static_cast<std::uint8_t>(Type::alive) ||
         type == static_cast<std::uint8_t>(Type::stop);
}

std::optional<FromRank> decode(Type type, std::string_view payload, const FromRank*) {
  if (type == Type::hello) return decode_as<FromRank, Hello>(payload);
  if (type == Type::beat) return decode_as<FromRank, Beat>(payload);
  if (type == Type::saved) return decode_as<FromRank, Saved>(payload);
  if (type == Type::failed) return decode_as<FromRank, Failed>(payload);
  return decode_as<FromRank, Bye>(payload);
}
std::optional<FromLauncher> decode(Type type, std::string_view payload, const FromLauncher*) {
  if (type == Type::alive) return decode_as<FromLauncher, Alive>(payload);
  return decode_as<FromLauncher, Stop>(payload);
}

}  // namespace

// ---- writing ------------------------------------------------------------------------------------

template <typename Message>
std::string FrameWriter::seal_message(const Message& message) {
  return std::visit(
      [&](const auto& m) {
        std::string payload;
        put_payload(payload, m);
        return seal(static_cast<std::uint8_t>(type_of(m)), payload);
      },
      message);
}

std::string FrameWriter::frame(const FromRank& message) { return seal_message(message); }

std::string FrameWriter::frame(const FromLauncher& message) { return seal_message(message); }

std::string FrameWriter::seal(std::uint8_t type, std::string_view payload) {
  DLT_CHECK(payload.size() <= kMax_payload_bytes, "a message fits a frame");
  std::string out;
  out.reserve(kHeader_bytes + payload.size() + kMac_bytes);
  put(out, static_cast<std::uint32_t>(payload.size()));
  put(out, type);
  out.append(3, '\0');
  put(out, next_sequence_++);
  put(out, generation_);
  out += payload;
  const Bytes32 mac = hmac_sha256(key_, as_bytes(out));
  out.append(reinterpret_cast<const char*>(mac.data()), mac.size());
  return out;
}

// ---- reading ------------------------------------------------------------------------------------

template <typename Message>
void FrameReader<Message>::append(std::span<const std::byte> bytes) {
  if (refusal_ != Refusal::none) return;
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

template <typename Message>
std::optional<Message> FrameReader<Message>::next() {
  if (refusal_ != Refusal::none) return std::nullopt;
  std::optional<Message> message = take();
  if (refusal_ != Refusal::none) {
    buffer_.clear();
    buffer_.shrink_to_fit();
    return std::nullopt;
  }
  return message;
}

/// Each field is judged as soon as it is there; nothing of the payload before the code fits.
template <typename Message>
std::optional<Message> FrameReader<Message>::take() {
  const auto refuse = [this](Refusal refusal) {
    refusal_ = refusal;
    return std::nullopt;
  };
  if (buffer_.size() < sizeof(std::uint32_t)) return std::nullopt;
  ByteReader header(std::string_view(buffer_).substr(0, kHeader_bytes));
  const auto length = header.take<std::uint32_t>();
  if (length > kMax_payload_bytes) return refuse(Refusal::length);
  if (buffer_.size() < kHeader_bytes) return std::nullopt;
  const auto type = header.take<std::uint8_t>();
  const std::string_view zeros = header.take_text(3);
  const auto sequence = header.take<std::uint64_t>();
  const auto generation = header.take<std::int64_t>();
  const std::size_t sealed = kHeader_bytes + length;
  if (buffer_.size() < sealed + kMac_bytes) return std::nullopt;
  const std::string_view frame = buffer_;
  const Bytes32 mac = hmac_sha256(key_, as_bytes(frame.substr(0, sealed)));
  if (!equal_secrets(mac, as_bytes(frame.substr(sealed, kMac_bytes)))) return refuse(Refusal::mac);
  if (sequence != next_sequence_) return refuse(Refusal::sequence);
  if (generation != generation_) return refuse(Refusal::generation);
  constexpr const Message* kDirection = nullptr;
  if (!known_type(type, kDirection)) return refuse(Refusal::type);
  if (zeros != std::string_view("\0\0\0", 3)) return refuse(Refusal::content);
  std::optional<Message> message =
      decode(static_cast<Type>(type), frame.substr(kHeader_bytes, length), kDirection);
  if (!message) return refuse(Refusal::content);
  buffer_.erase(0, sealed + kMac_bytes);
  ++next_sequence_;
  return message;
}

template class FrameReader<FromRank>;
template class FrameReader<FromLauncher>;

}  // namespace dlt::launcher
