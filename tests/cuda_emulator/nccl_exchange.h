// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace dlt::emulator {

/// How the ranks of a communicator, threads or processes of one host, hand data to each other:
/// files in a folder of shared memory. Each message is written whole, then linked to the name by
/// which its reader finds it; who has read it takes the name away.
class NcclExchange {
 public:
  /// The folder of a new communicator. Folders whose maker has died are removed.
  [[nodiscard]] static std::string make_folder();

  NcclExchange(std::string folder, int rank, int world_size);
  /// Takes back what this rank has left; the last one removes the folder.
  ~NcclExchange();
  NcclExchange(const NcclExchange&) = delete;
  NcclExchange& operator=(const NcclExchange&) = delete;

  /// Says which GPU this rank has.
  void announce(const std::string& gpu);
  /// The GPUs of all ranks; none until the last has come.
  [[nodiscard]] std::optional<std::vector<std::string>> gpus() const;

  /// The same bytes to each of the readers, under names that the sides agree on.
  void post(const std::string& name, const std::vector<int>& readers,
            const std::vector<std::byte>& bytes);
  [[nodiscard]] bool has_come(const std::string& name, int sender) const;
  [[nodiscard]] std::vector<std::byte> take(const std::string& name, int sender);
  /// Whether the reader has taken it.
  [[nodiscard]] bool was_taken(const std::string& name, int reader) const;

 private:
  [[nodiscard]] std::filesystem::path path(const std::string& name, int sender, int reader) const;
  std::filesystem::path folder_;
  int rank_;
  int world_size_;
};

}  // namespace dlt::emulator
