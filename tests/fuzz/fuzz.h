// SPDX-License-Identifier: Apache-2.0
// What a fuzz target is: one function that is given hostile bytes and must return. The name is
// libFuzzer's, so that a target can also be linked with clang's -fsanitize=fuzzer in place of
// driver.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
