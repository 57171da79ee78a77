// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dlt::launcher {

/// "dltrain 0.1.0 (git 1a2b3c4)"
[[nodiscard]] std::string program_version();
/// How the program was built: "g++ 12.2.0, Release".
[[nodiscard]] std::string build_description();
/// Versions of the libraries it was built with, as "HDF5 1.10.8, ...".
[[nodiscard]] std::string library_versions();
/// The linker's identity of this executable (its build id), in hex: equal exactly for equal
/// programs. errors  Error(Exit::internal) if it was linked without one
[[nodiscard]] std::string program_hash();

}  // namespace dlt::launcher
