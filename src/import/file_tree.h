// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace dlt::import_ {

/// Endings such as ".png", in lower case; a file's may be in either.
using Endings = std::span<const std::string_view>;
[[nodiscard]] bool ends_with_one_of(const std::string& path, Endings endings);

/// Files with one of the endings in a folder and in those below it, sorted.
/// errors  Exit::missing, Exit::data naming a folder that cannot be listed
[[nodiscard]] std::vector<std::string> files_below(const std::string& folder, Endings endings);

/// The error for a folder that cannot be listed.
[[noreturn]] void cannot_list(const std::string& folder, const std::error_code& error);

}  // namespace dlt::import_
