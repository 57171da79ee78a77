// SPDX-License-Identifier: Apache-2.0
#include "cuda_emulator/nccl_exchange.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include <signal.h>
#include <unistd.h>

#include "cuda_emulator/report.h"

namespace dlt::emulator {
namespace {

namespace fs = std::filesystem;
constexpr const char* kPrefix = "dltrain-emulated-nccl.";

/// Folders are named after the process that made them.
void remove_stale(const fs::path& root) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(kPrefix, 0) != 0) continue;
    const long pid =
        std::strtol(name.c_str() + std::char_traits<char>::length(kPrefix), nullptr, 10);
    const bool is_dead = pid > 0 && kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH;
    // Ranks whose first has died may still be at work.
    const auto age = fs::file_time_type::clock::now() - fs::last_write_time(entry.path(), ignored);
    if (is_dead && age > std::chrono::minutes(2)) fs::remove_all(entry.path(), ignored);
  }
}

std::vector<std::byte> read_whole(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::byte> bytes(static_cast<std::size_t>(fs::file_size(path)));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file) fail("nccl: cannot read " + path.string());
  return bytes;
}

void write_whole(const fs::path& path, const std::vector<std::byte>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) fail("nccl: cannot write " + path.string() + " (is /dev/shm full?)");
}

}  // namespace

std::string NcclExchange::make_folder() {
  static std::atomic<int> number = 0;
  const fs::path root = fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
  remove_stale(root);
  const std::string name = kPrefix + std::to_string(getpid()) + "." + std::to_string(number++);
  fs::remove_all(root / name);
  fs::create_directory(root / name);
  return (root / name).string();
}

NcclExchange::NcclExchange(std::string folder, int rank, int world_size)
    : folder_(std::move(folder)), rank_(rank), world_size_(world_size) {}

NcclExchange::~NcclExchange() {
  std::error_code ignored;
  if (!fs::exists(folder_, ignored)) return;
  write_whole(folder_ / ("left." + std::to_string(rank_)), {});
  for (int rank = 0; rank < world_size_; ++rank) {
    if (!fs::exists(folder_ / ("left." + std::to_string(rank)), ignored)) return;
  }
  fs::remove_all(folder_, ignored);
}

fs::path NcclExchange::path(const std::string& name, int sender, int reader) const {
  return folder_ / (name + "." + std::to_string(sender) + "." + std::to_string(reader));
}

void NcclExchange::announce(const std::string& gpu) {
  const auto* bytes = reinterpret_cast<const std::byte*>(gpu.data());
  const fs::path draft = folder_ / ("draft." + std::to_string(rank_));
  write_whole(draft, {bytes, bytes + gpu.size()});
  fs::rename(draft, folder_ / ("gpu." + std::to_string(rank_)));
}

std::optional<std::vector<std::string>> NcclExchange::gpus() const {
  std::vector<std::string> gpus;
  for (int rank = 0; rank < world_size_; ++rank) {
    const fs::path path = folder_ / ("gpu." + std::to_string(rank));
    if (!fs::exists(path)) return std::nullopt;
    const std::vector<std::byte> bytes = read_whole(path);
    gpus.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return gpus;
}

void NcclExchange::post(const std::string& name, const std::vector<int>& readers,
                        const std::vector<std::byte>& bytes) {
  const fs::path draft = folder_ / ("draft." + std::to_string(rank_));
  write_whole(draft, bytes);
  for (const int reader : readers) fs::create_hard_link(draft, path(name, rank_, reader));
  fs::remove(draft);
}

bool NcclExchange::has_come(const std::string& name, int sender) const {
  return fs::exists(path(name, sender, rank_));
}

std::vector<std::byte> NcclExchange::take(const std::string& name, int sender) {
  const fs::path from = path(name, sender, rank_);
  std::vector<std::byte> bytes = read_whole(from);
  fs::remove(from);
  return bytes;
}

bool NcclExchange::was_taken(const std::string& name, int reader) const {
  return !fs::exists(path(name, rank_, reader));
}

}  // namespace dlt::emulator
