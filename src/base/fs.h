// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dlt {

/// Bytes that belong at an offset of a file.
struct FileRange {
  std::int64_t offset = 0;
  std::span<const std::byte> bytes;
};

/// The file operations that durable state needs, replaceable in tests by one that fails on purpose.
/// errors  every failure throws Error(Exit::io) naming path, call and errno text, unless said
/// otherwise
class Fs {
 public:
  virtual ~Fs() = default;
  /// Creates or truncates, writes all pieces in order, fsyncs, closes.
  virtual void write_synced(const std::string& path,
                            std::span<const std::span<const std::byte>> pieces) = 0;
  /// Creates the file if there is none, writes each range at its place and fsyncs. Other processes
  /// may write other ranges of it meanwhile.
  virtual void write_ranges_synced(const std::string& path, std::span<const FileRange> ranges) = 0;
  virtual void sync_directory(const std::string& path) = 0;
  virtual void rename(const std::string& from, const std::string& to) = 0;
  /// Like mkdir -p.
  virtual void create_directories(const std::string& path) = 0;
  virtual void remove_tree(const std::string& path) = 0;
  /// Bytes free to this user on the file system of path.
  [[nodiscard]] virtual std::uint64_t free_bytes(const std::string& path) = 0;
};

class SystemFs final : public Fs {
 public:
  void write_synced(const std::string& path,
                    std::span<const std::span<const std::byte>> pieces) override;
  void write_ranges_synced(const std::string& path, std::span<const FileRange> ranges) override;
  void sync_directory(const std::string& path) override;
  void rename(const std::string& from, const std::string& to) override;
  void create_directories(const std::string& path) override;
  void remove_tree(const std::string& path) override;
  [[nodiscard]] std::uint64_t free_bytes(const std::string& path) override;
};

/// Write to path.tmp, fsync, rename over path, fsync the folder: readers see the old or the new
/// text. What was written of a file that could not be finished is removed.
void write_atomically(Fs& fs, const std::string& path, std::string_view text);
/// The same in pieces, by way of path.PID.tmp: for a path anywhere, with other people's files
/// beside it.
void write_atomically(Fs& fs, const std::string& path,
                      std::span<const std::span<const std::byte>> pieces);

/// Whole regular file, at most max_bytes. errors  Exit::missing if there is none or it cannot be
/// opened, Exit::data if it is larger or not a regular file (symlinks to regular files are followed
/// unless nofollow)
struct ReadOptions {
  std::uint64_t max_bytes = std::uint64_t{1} << 40;
  bool nofollow = false;
};
[[nodiscard]] std::string read_file(const std::string& path, const ReadOptions& options = {});

/// Calls use(offset, bytes) for each block of so many bytes of a regular file, in order; the last
/// one may be shorter. With fresh_from_disk the system's copies in memory are dropped first, where
/// it can. errors  Exit::io if it cannot be read or is none
struct BlockOptions {
  std::int64_t block_bytes = 1 << 20;
  bool fresh_from_disk = false;
};
void read_blocks(const std::string& path, const BlockOptions& options,
                 const std::function<void(std::int64_t, std::span<const std::byte>)>& use);

/// Removes a folder, and these files in it, unless it holds anything else. Whatever fails is left.
void remove_if_only(const std::string& path, std::span<const std::string_view> names) noexcept;

/// Names in a folder, sorted, without "." and "..". Empty if there is no such folder.
[[nodiscard]] std::vector<std::string> list_directory(const std::string& path);
[[nodiscard]] bool exists(const std::string& path);

}  // namespace dlt
