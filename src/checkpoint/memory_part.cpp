// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/memory_part.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/kill_point.h"
#include "base/text.h"

namespace dlt::checkpoint {
namespace {

constexpr std::uint64_t kMagic = 0x31706e7374726c64;  // "ldrtsnp1"
constexpr std::size_t kAlign_bytes = 64;
constexpr std::size_t kHashed_bytes = 256 << 10;  // at a time: still in the cache from the copy
constexpr std::size_t kSlack_bytes = 64 << 10;    // what headers and lists may grow by

/// The begin of the file, written last. Behind it: fingerprint, YAML, extents; then, aligned, the
/// bytes.
struct PartHeader {
  std::uint64_t magic = 0;
  std::int64_t generation = 0, sequence = 0, rank = 0, world_size = 0;
  std::int64_t step = 0, epoch = 0, epoch_samples = 0, leaves = 0;
  std::int64_t num_bytes[2] = {0, 0};
  std::uint64_t fingerprint_size = 0, yaml_size = 0, num_extents = 0, data_size = 0;
  std::uint64_t lists_hash = 0, data_hash = 0;
  std::uint64_t header_hash = 0;  // of all before it
};
static_assert(std::is_trivially_copyable_v<PartHeader>);

struct StoredExtent {
  std::int64_t file = 0, offset = 0, num_bytes = 0;
};

std::size_t aligned(std::size_t size) {
  return (size + kAlign_bytes - 1) / kAlign_bytes * kAlign_bytes;
}

std::uint64_t hash_of(const PartHeader& header) {
  return xxh3({reinterpret_cast<const std::byte*>(&header), offsetof(PartHeader, header_hash)});
}

/// Goes through so many bytes in pieces: use(where one begins, its size).
template <typename Use>
void in_pieces(std::size_t size, Use use) {
  for (std::size_t at = 0; at < size; at += kHashed_bytes) {
    use(at, std::min(kHashed_bytes, size - at));
  }
}

std::vector<StoredExtent> merged(std::span<const Stretch> stretches) {
  std::vector<StoredExtent> out;
  for (const Stretch& stretch : stretches) {
    const Extent& at = stretch.at;
    if (!out.empty() && out.back().file == at.file &&
        out.back().offset + out.back().num_bytes == at.offset) {
      out.back().num_bytes += at.num_bytes;
    } else {
      out.push_back({.file = at.file, .offset = at.offset, .num_bytes = at.num_bytes});
    }
  }
  return out;
}

[[noreturn]] void refuse_part(const std::string& path, const std::string& what) {
  throw Error(Exit::data, cat(printable(path, 4096), ": ", what));
}

[[noreturn]] void fail_io(const std::string& path, const char* call, int code) {
  throw Error(Exit::io,
              cat(printable(path, 4096), ": ", call, ": ", std::system_category().message(code)));
}

std::uint64_t hash_data(std::span<const std::byte> bytes, std::uint64_t seed) {
  in_pieces(bytes.size(),
            [&](std::size_t at, std::size_t size) { seed = xxh3(bytes.subspan(at, size), seed); });
  return seed;
}

/// The header, with sizes that fit the file.
PartHeader checked_header(const std::string& path, std::string_view text) {
  PartHeader header;
  if (text.size() < sizeof header) refuse_part(path, "cut short");
  std::memcpy(static_cast<void*>(&header), text.data(), sizeof header);
  if (header.magic != kMagic) refuse_part(path, "half written, or no part of a snapshot");
  if (header.header_hash != hash_of(header)) refuse_part(path, "its header does not verify");
  // Sizes that were written by this program, but a sum of them must not overflow all the same.
  const std::uint64_t limit = text.size();
  if (header.fingerprint_size > limit || header.yaml_size > limit ||
      header.num_extents > limit / sizeof(StoredExtent) || header.data_size > limit) {
    refuse_part(path, "its header does not fit the file");
  }
  return header;
}

}  // namespace

PartWriter::PartWriter(std::string path) : path_(std::move(path)) {}

PartWriter::~PartWriter() {
  if (data_ != nullptr) ::munmap(data_, capacity_);
  if (fd_ >= 0) ::close(fd_);
}

/// Pages are taken at once: a page that is missing later would end the process.
void PartWriter::reserve(std::size_t num_bytes) {
  if (num_bytes <= capacity_) return;
  if (fd_ < 0) {
    if (::unlink(path_.c_str()) != 0 && errno != ENOENT) fail_io(path_, "unlink", errno);
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd_ < 0) fail_io(path_, "open", errno);
  }
  const std::size_t wanted = aligned(num_bytes + kSlack_bytes);
  const int code = ::posix_fallocate(fd_, 0, static_cast<off_t>(wanted));
  if (code != 0) fail_io(path_, "fallocate", code);
  if (data_ != nullptr) ::munmap(data_, capacity_);
  data_ = nullptr;
  capacity_ = 0;
  void* mapped = ::mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (mapped == MAP_FAILED) fail_io(path_, "mmap", errno);
  data_ = static_cast<std::byte*>(mapped);
  capacity_ = wanted;
}

void PartWriter::write(const PartFacts& facts, std::span<const Stretch> stretches) {
  const std::vector<StoredExtent> extents = merged(stretches);
  PartHeader header{.magic = kMagic,
                    .generation = facts.generation,
                    .sequence = facts.sequence,
                    .rank = facts.rank,
                    .world_size = facts.world_size,
                    .step = facts.step,
                    .epoch = facts.epoch,
                    .epoch_samples = facts.epoch_samples,
                    .leaves = facts.leaves,
                    .num_bytes = {facts.num_bytes[0], facts.num_bytes[1]},
                    .fingerprint_size = facts.config_fingerprint.size(),
                    .yaml_size = facts.config_yaml.size(),
                    .num_extents = extents.size()};
  for (const StoredExtent& extent : extents) {
    header.data_size += static_cast<std::uint64_t>(extent.num_bytes);
  }
  const std::size_t lists =
      header.fingerprint_size + header.yaml_size + extents.size() * sizeof(StoredExtent);
  const std::size_t data_at = aligned(sizeof header + lists);
  reserve(data_at + header.data_size);

  std::memset(data_, 0, sizeof(std::uint64_t));  // the magic number
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::byte* to = data_ + sizeof header;
  const auto put = [&to](const void* from, std::size_t size) {
    if (size > 0) std::memcpy(to, from, size);
    to += size;
  };
  put(facts.config_fingerprint.data(), header.fingerprint_size);
  put(facts.config_yaml.data(), header.yaml_size);
  put(extents.data(), extents.size() * sizeof(StoredExtent));
  header.lists_hash = xxh3({data_ + sizeof header, lists});
  to = data_ + data_at;
  std::byte* hashed = to;
  const auto hash_upto = [&](std::size_t least) {
    while (static_cast<std::size_t>(to - hashed) >= least && to > hashed) {
      const std::size_t size =
          std::min<std::size_t>(kHashed_bytes, static_cast<std::size_t>(to - hashed));
      header.data_hash = xxh3({hashed, size}, header.data_hash);
      hashed += size;
    }
  };
  for (const Stretch& stretch : stretches) {
    in_pieces(static_cast<std::size_t>(stretch.at.num_bytes),
              [&](std::size_t at, std::size_t size) {
                put(stretch.data + at, size);
                hash_upto(kHashed_bytes);
              });
  }
  hash_upto(1);
  DLT_KILL_POINT(snapshot_within);
  header.header_hash = hash_of(header);
  // All but the magic number first: should the process end here, the part is none.
  std::memcpy(data_ + sizeof header.magic,
              reinterpret_cast<const std::byte*>(&header) + sizeof header.magic,
              sizeof header - sizeof header.magic);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memcpy(data_, &header.magic, sizeof header.magic);
}

MemoryPart read_part(const std::string& path) {
  std::string text;
  try {
    text = read_file(path, {.nofollow = true});
  } catch (const Error& error) {
    refuse_part(path, error.what());
  }
  const PartHeader header = checked_header(path, text);
  const std::size_t lists =
      header.fingerprint_size + header.yaml_size + header.num_extents * sizeof(StoredExtent);
  const std::size_t data_at = aligned(sizeof header + lists);
  if (data_at > text.size() || header.data_size > text.size() - data_at)
    refuse_part(path, "cut short");
  const auto bytes = std::as_bytes(std::span(text));
  if (xxh3(bytes.subspan(sizeof header, lists)) != header.lists_hash) {
    refuse_part(path, "its lists do not verify");
  }
  if (hash_data(bytes.subspan(data_at, header.data_size), 0) != header.data_hash) {
    refuse_part(path, "its bytes do not verify");
  }
  MemoryPart out;
  out.facts = {
      .generation = header.generation,
      .sequence = header.sequence,
      .rank = header.rank,
      .world_size = header.world_size,
      .step = header.step,
      .epoch = header.epoch,
      .epoch_samples = header.epoch_samples,
      .leaves = header.leaves,
      .num_bytes = {header.num_bytes[0], header.num_bytes[1]},
      .config_fingerprint = text.substr(sizeof header, header.fingerprint_size),
      .config_yaml = text.substr(sizeof header + header.fingerprint_size, header.yaml_size)};
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < header.num_extents; ++i) {
    StoredExtent extent;
    std::memcpy(&extent,
                text.data() + sizeof header + header.fingerprint_size + header.yaml_size +
                    i * sizeof extent,
                sizeof extent);
    const bool fits = (extent.file == 0 || extent.file == 1) && extent.offset >= 0 &&
                      extent.num_bytes >= 0 && extent.num_bytes <= header.num_bytes[extent.file] &&
                      extent.offset <= header.num_bytes[extent.file] - extent.num_bytes;
    if (!fits) refuse_part(path, "an extent lies outside of its file");
    total += static_cast<std::uint64_t>(extent.num_bytes);
    out.extents.push_back({.file = static_cast<int>(extent.file),
                           .offset = extent.offset,
                           .num_bytes = extent.num_bytes});
  }
  if (total != header.data_size) refuse_part(path, "its extents are not its bytes");
  out.bytes = text.substr(data_at, header.data_size);
  return out;
}

}  // namespace dlt::checkpoint
