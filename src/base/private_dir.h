// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace dlt {

/// A folder that this user alone can use, for what lies in places that others can write to, as
/// /dev/shm: made with mode 0700 if it is not there (its parent must be).
/// errors  Error(Exit::denied) if what is there is a link or no folder, belongs to somebody else,
///         or is open to others; Error(Exit::io)
void make_private_directory(const std::string& path);

}  // namespace dlt
