// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace dlt::data {

/// What a character is to the splitting of text into words: Unicode's general categories L and N,
/// the property White_Space, and the rest.
enum class CharClass : std::uint8_t { letter, number, space, other };

[[nodiscard]] CharClass char_class(char32_t code);

}  // namespace dlt::data
