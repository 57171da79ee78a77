// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "observe/events.h"

namespace dlt::observe {

/// Appends text as a JSON string. Bytes that are not UTF-8 become U+FFFD, so that every line stays
/// readable whatever a file name holds.
void append_json(std::string& out, std::string_view text);

/// Appends a value. Doubles are written with the fewest digits that read back the same, always with
/// a point or an exponent; NaN and infinities as the strings "nan", "inf", "-inf".
void append_json(std::string& out, const FieldValue& value);

/// Appends a time in seconds with six decimals.
void append_seconds(std::string& out, double seconds);

}  // namespace dlt::observe
