// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace dlt::test {

/// Calls of operator new in this program so far, by any thread. A program
/// that asks has allocation_count.cpp among its sources.
[[nodiscard]] long num_allocations();

}  // namespace dlt::test
