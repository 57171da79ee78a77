// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace dlt::launcher {

/// Why a peer on the control channel is turned away.
enum class Refusal : std::uint8_t {
  none,
  opening,     // its first bytes are not those of a rank
  generation,  // of another start of the job
  rank,        // no rank of the job
  token,       // it does not know the token
  late,        // it did not prove in time that it does
  crowded,     // too many are trying at once
  left,        // it went away before it had proved anything
  length,      // a frame longer than any message
  type,        // a frame of no type, or not of this direction
  sequence,    // a frame out of sequence: replayed, left out or moved
  mac,         // a frame that was changed on its way, or reflected
  content,     // a message with numbers or text that cannot be
  order        // a message where another one is due
};

inline constexpr std::array<std::string_view, 14> kRefusal_texts{
    "nothing is wrong",
    "its first bytes are not a rank's",
    "it belongs to another generation of the job",
    "the job has no such rank",
    "it does not know the job's token",
    "it did not prove in time that it knows the token",
    "too many clients are trying at once",
    "it left before it proved that it knows the token",
    "it sent a frame longer than any message",
    "it sent a frame of an unknown type",
    "it sent a frame out of sequence",
    "it sent a frame with a wrong authentication code",
    "it sent a message with impossible content",
    "it sent a message where another one was due"};
static_assert(kRefusal_texts.size() == static_cast<std::size_t>(Refusal::order) + 1);

[[nodiscard]] constexpr std::string_view text(Refusal refusal) {
  return kRefusal_texts[static_cast<std::size_t>(refusal)];
}

}  // namespace dlt::launcher
