// SPDX-License-Identifier: Apache-2.0
// An Fs that breaks at its k-th call: FaultyFs fs(FaultyFs::Mode::stop, k);
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fs.h"

namespace dlt::test {

/// What a stopped FaultyFs throws. No dlt::Error and no std::exception, so that nothing under test
/// goes on after it: the process is dead.
struct Stopped {};

/// Works on the real file system until its k-th call (from 0), which is half done (half of the
/// bytes written, part of a tree removed) and then fails. Also writes down every call. Waits
/// for no disk: nothing is really synced.
class FaultyFs final : public Fs {
 public:
  enum class Mode : std::uint8_t {
    work,         // never breaks
    fail_once,    // the k-th call throws Error(Exit::io); later ones work: a full disk
    fail_always,  // all calls from the k-th on throw Error(Exit::io): a dead disk
    stop          // all calls from the k-th on throw Stopped: power cut, SIGKILL
  };
  explicit FaultyFs(Mode mode = Mode::work, std::int64_t breaks_at = 0)
      : mode_(mode), breaks_at_(breaks_at) {}

  /// True once the k-th call has come.
  [[nodiscard]] bool broke() const { return broke_; }
  /// "write model.safetensors", "rename .tmp-step-000000001 step-000000001", ...: base names only.
  [[nodiscard]] const std::vector<std::string>& calls() const { return calls_; }
  void set_free_bytes(std::uint64_t bytes) { free_bytes_ = bytes; }

  void write_synced(const std::string& path,
                    std::span<const std::span<const std::byte>> pieces) override {
    call("write " + base_name(path), [&] {
      std::vector<std::span<const std::byte>> half(pieces.begin(), pieces.end());
      half.resize((half.size() + 1) / 2);
      half.back() = half.back().first(half.back().size() / 2);
      write(path, half);
    });
    write(path, pieces);
  }
  void write_ranges_synced(const std::string& path, std::span<const FileRange> ranges) override {
    call("write " + base_name(path), [&] {
      std::vector<FileRange> half(ranges.begin(), ranges.end());
      half.resize((half.size() + 1) / 2);
      half.back().bytes = half.back().bytes.first(half.back().bytes.size() / 2);
      system_.write_ranges_synced(path, half);
    });
    system_.write_ranges_synced(path, ranges);
  }
  void sync_directory(const std::string& path) override {
    call("sync " + base_name(path), [] {});
    if (!std::filesystem::is_directory(path)) throw Error(Exit::io, path + ": no such folder");
  }
  void rename(const std::string& from, const std::string& to) override {
    call("rename " + base_name(from) + " " + base_name(to), [] {});
    system_.rename(from, to);
  }
  void create_directories(const std::string& path) override {
    call("mkdir " + base_name(path), [] {});
    system_.create_directories(path);
  }
  void remove_tree(const std::string& path) override {
    call("remove " + base_name(path), [&] {
      const std::vector<std::string> names = list_directory(path);
      if (!names.empty()) system_.remove_tree(path + "/" + names.front());
    });
    system_.remove_tree(path);
  }
  [[nodiscard]] std::uint64_t free_bytes(const std::string& path) override {
    call("free " + base_name(path), [] {});
    return free_bytes_ ? *free_bytes_ : system_.free_bytes(path);
  }

 private:
  static void write(const std::string& path, std::span<const std::span<const std::byte>> pieces) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    for (const auto& piece : pieces) {
      file.write(reinterpret_cast<const char*>(piece.data()),
                 static_cast<std::streamsize>(piece.size()));
    }
    file.flush();
    if (!file) throw Error(Exit::io, path + ": cannot be written");
  }

  static std::string base_name(const std::string& path) {
    return std::filesystem::path(path).filename().string();
  }

  template <typename Half>
  void call(const std::string& text, Half half) {
    const auto number = static_cast<std::int64_t>(calls_.size());
    calls_.push_back(text);
    if (mode_ == Mode::work || number < breaks_at_) return;
    if (number > breaks_at_ && mode_ == Mode::fail_once) return;
    if (number == breaks_at_) {
      broke_ = true;
      half();
    }
    if (mode_ == Mode::stop) throw Stopped{};
    throw Error(Exit::io, text + ": No space left on device");
  }

  SystemFs system_;
  Mode mode_;
  std::int64_t breaks_at_;
  std::optional<std::uint64_t> free_bytes_;
  std::vector<std::string> calls_;
  bool broke_ = false;
};

}  // namespace dlt::test
