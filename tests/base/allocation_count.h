// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace dlt::test {

/// Calls of operator new in this program so far, by any thread.
[[nodiscard]] long num_allocations();

}  // namespace dlt::test
