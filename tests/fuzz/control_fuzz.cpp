// SPDX-License-Identifier: Apache-2.0
// Any bytes on a socket of the control channel. The first byte says who reads them: dlrun's or a
// rank's end, in the handshake or behind it; frames are also given codes that fit, since no input
// finds those by chance.
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "fuzz/fuzz.h"
#include "launcher/control/bytes.h"
#include "launcher/control/frame.h"
#include "launcher/control/handshake.h"

namespace {

using namespace dlt;
using namespace dlt::launcher;

constexpr Bytes32 kToken{std::byte{5}};
constexpr Bytes32 kNonce{std::byte{6}};
constexpr std::int64_t kGeneration = 1;

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const FromRank& message) {
  if (const Hello* hello = std::get_if<Hello>(&message)) {
    require(hello->rank >= 0 && hello->host.size() <= kMax_host_bytes && hello->pid > 0);
  } else if (const Beat* beat = std::get_if<Beat>(&message)) {
    require(!observe::name(beat->mark.phase).empty() && beat->mark.step >= 0);
  } else if (const Failed* failed = std::get_if<Failed>(&message)) {
    require(failed->text.size() <= 4 * kMax_text_bytes);
    for (const char c : failed->text) require(c == '\n' || static_cast<unsigned char>(c) >= ' ');
  }
}
void check(const FromLauncher& message) {
  if (const Stop* stop = std::get_if<Stop>(&message)) require(stop->grace_s >= 0);
}

/// Reads in pieces of different sizes; what comes out can be written and read again.
template <typename Message>
void read(std::string_view bytes, std::size_t piece) {
  FrameReader<Message> reader(kToken, kGeneration);
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    reader.append(as_bytes(part));
    while (const std::optional<Message> message = reader.next()) {
      check(*message);
      const std::string again = FrameWriter(kToken, kGeneration).frame(*message);
      FrameReader<Message> second(kToken, kGeneration);
      second.append(as_bytes(again));
      require(second.next().has_value());
    }
    require(reader.num_buffered_bytes() <= kMax_frame_bytes + piece);
  }
}

/// The frames that these bytes may be, each with a code that fits.
std::string sealed(std::string_view bytes) {
  std::string out;
  while (bytes.size() >= kHeader_bytes) {
    ByteReader header(bytes);
    const std::size_t length =
        std::min<std::size_t>(header.take<std::uint32_t>(), bytes.size() - kHeader_bytes);
    std::string frame(bytes.substr(0, kHeader_bytes + length));
    std::string size;
    put(size, static_cast<std::uint32_t>(length));
    frame.replace(0, size.size(), size);
    const Bytes32 mac = hmac_sha256(kToken, as_bytes(frame));
    out += frame.append(reinterpret_cast<const char*>(mac.data()), mac.size());
    bytes.remove_prefix(std::min(bytes.size(), kHeader_bytes + length + kMac_bytes));
  }
  return out;
}

template <typename Handshake>
void shake(Handshake handshake, std::string_view bytes, std::size_t piece) {
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, piece);
    bytes.remove_prefix(part.size());
    require(handshake.receive(as_bytes(part)).size() <= kChallenge_bytes);
  }
  require(!handshake.done());  // nobody finds the token by chance
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t piece = std::size_t{1} << (data[0] >> 4);
  switch (data[0] & 7) {
    case 0:
      read<FromRank>(bytes, piece);
      break;
    case 1:
      read<FromLauncher>(bytes, piece);
      break;
    case 2:
      shake(ServerHandshake(kToken, kNonce), bytes, piece);
      break;
    case 3:
      shake(ClientHandshake(kToken, kNonce, {.generation = kGeneration}), bytes, piece);
      break;
    case 4:
    case 5:
    case 6:
      read<FromRank>(sealed(bytes), piece);
      break;
    default:
      read<FromLauncher>(sealed(bytes), piece);
  }
  return 0;
}
