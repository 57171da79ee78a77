// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "data/tokenizer.h"

namespace dlt::import_ {

/// Byte pairs of a text: the 256 bytes, then one after the other the pair of tokens that stands
/// most often side by side within words (data::for_words); of equally frequent ones that of the
/// smaller ids. Ends at num_tokens, or where no pair stands twice. Depends on the text alone.
/// source  Gage 1994; Sennrich, Haddow & Birch 2016, arXiv:1508.07909
[[nodiscard]] data::Tokenizer train_byte_pairs(std::string_view text, std::int64_t num_tokens);

}  // namespace dlt::import_
