// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

namespace dlt::weights {

/// Does something with a file in a child process first, since the HDF5 library has defects of its
/// own: damaged files can make it read outside its memory. What the action throws is of no interest
/// here; it is thrown again when this process does it.
/// errors  Error(Exit::data) naming the file if the child ended by a signal or took longer than
///         kProbe_s; Error(Exit::io) if it could not be started
inline constexpr unsigned kProbe_s = 60;
void probe(const std::string& path, const std::function<void()>& action);

}  // namespace dlt::weights
