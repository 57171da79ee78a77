// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dlt {

/// A key, or what HMAC-SHA256 makes of one.
using Bytes32 = std::array<std::byte, 32>;

/// HMAC-SHA256 through libcrypto.
[[nodiscard]] Bytes32 hmac_sha256(std::span<const std::byte> key,
                                  std::span<const std::byte> message);

/// Whether they are the same, in a time that does not tell where they differ.
[[nodiscard]] bool equal_secrets(std::span<const std::byte> a, std::span<const std::byte> b);

/// From the system's source of randomness: for keys and nonces, never for training.
/// errors  Error(Exit::internal) if there is none
void fill_random(std::span<std::byte> out);

/// 64 lower-case hex digits, and back. Nothing if the text is anything else.
[[nodiscard]] std::string to_hex(const Bytes32& bytes);
[[nodiscard]] std::optional<Bytes32> from_hex(std::string_view text);

}  // namespace dlt
