// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "data/tokenizer.h"

namespace dlt::import_ {

/// The byte pairs of GPT-2's two files: vocab.json (token to id) and merges.txt (a pair a line), in
/// which every byte is written as a printable character.
/// errors  Error(Exit::missing) no such file; Error(Exit::data) naming file and line, or token
[[nodiscard]] data::Tokenizer read_gpt2_vocabulary(const std::string& vocab_json,
                                                   const std::string& merges_txt);

}  // namespace dlt::import_
