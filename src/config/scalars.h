// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "config/node.h"

namespace dlt::config {

/// What stands in place of the expected, for a message: "'010'", "a list", "nothing".
[[nodiscard]] std::string describe(const Node& node);

/// How to write what was probably meant, or "".
[[nodiscard]] std::string integer_hint(const Node& node);
[[nodiscard]] std::string number_hint(const Node& node);
[[nodiscard]] std::string boolean_hint(const Node& node);

/// "an integer from 1 to 8", "a number above 0 and at most 1"
[[nodiscard]] std::string expected(const IntegerRule& rule);
[[nodiscard]] std::string expected(const NumberRule& rule);

[[nodiscard]] bool allows(const IntegerRule& rule, std::int64_t value);
[[nodiscard]] bool allows(const NumberRule& rule, double value);

}  // namespace dlt::config
