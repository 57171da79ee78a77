// SPDX-License-Identifier: Apache-2.0
// What a job leaves on a host, and how it goes. All of it lies in one folder in memory, the run's:
// MEMORY/mpi-GENERATION holds MPI's shared-memory files, sockets and session folders, the rest
// belongs to the ranks (flight rings, snapshots) and outlives a generation.
#pragma once

#include <cstdint>
#include <string>

namespace dlt::supervise {

/// /dev/shm/dlrun-UID-HASH, the same for the same run's folder, so that the same command after a
/// kill of everything finds the snapshots again.
[[nodiscard]] std::string memory_dir_of(const std::string& run_dir);
[[nodiscard]] std::string scratch_dir_of(const std::string& memory_dir, std::int64_t generation);

/// The scripts first end all processes of the run on a host, those of a dlrun that was killed
/// included: whoever has DLRUN_MEMORY of this folder, and MPI's daemons that were told to use it.
/// They end with 0, with 77 if the folder belongs to somebody else, else with 1.
///
/// Makes the folder ready for a generation: what MPI left of others goes. wipe: what ranks left,
/// too. mpich: files that MPICH leaves in /dev/shm, if nobody uses them. Prints the host's number
/// of cores.
struct PrepareOptions {
  std::string memory_dir;
  std::int64_t generation = 1;
  bool wipe = false;
  bool mpich = false;
};
[[nodiscard]] std::string prepare_script(const PrepareOptions& options);
/// Removes everything.
[[nodiscard]] std::string remove_script(const std::string& memory_dir);
/// Removes what MPI left.
[[nodiscard]] std::string sweep_script(const std::string& memory_dir, bool mpich);

}  // namespace dlt::supervise
