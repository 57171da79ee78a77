// SPDX-License-Identifier: Apache-2.0
// Settings of Open MPI that dltrain wants and that a user need not know. Left to itself, Open
// MPI 4.1 sends messages of more than 64 KiB over TCP only once their receiver has asked for them,
// and where both directions are busy that halves the line's rate. Our own messages go in pieces
// below that size (mpi.cpp); its collectives (train.reduction: fast) cannot be cut by us without a
// price on fast networks, so for TCP alone the limit is raised: an allreduce of 2.7 and 8 MB over 1
// Gbit/s then moves at 1.00 instead of 0.57 to 0.96 of the line. The settings are made in this
// process's environment before MPI_Init, which is where mpirun would put them, and only if the user
// has made none of them: in the environment, by mpirun -mca, or in a parameter file.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dlt::comm {

/// A variable's value, or null if it is not set.
using EnvLookup = std::function<const char*(const char* name)>;
/// A file's text, "" if it cannot be read.
using FileReader = std::function<std::string(const std::string& path)>;

/// Environment variables with their values that are to be set.
using EnvSettings = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] EnvSettings open_mpi_settings(const EnvLookup& lookup, const FileReader& read);

/// Whether a parameter file's text (lines `name = value`, # comments) sets that parameter.
[[nodiscard]] bool sets_parameter(std::string_view text, std::string_view name);

/// Does it for this process. Before MPI_Init, while no other thread reads the environment.
void apply_open_mpi_settings();

}  // namespace dlt::comm
