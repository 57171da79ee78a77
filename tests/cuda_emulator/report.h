// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dlt::emulator {

/// Prints "cuda emulator: text" with the seed and ends the process: the program under test did what
/// a GPU would answer with wrong numbers or a hang.
[[noreturn]] void fail(const std::string& text);

/// The name of the function at that address, from the debug information; for reports.
[[nodiscard]] std::string function_name(const void* address);

}  // namespace dlt::emulator
