// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace dlt::observe {

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78).
/// source  RFC 3720, appendix B.4
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes);

}  // namespace dlt::observe
