// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/draft.h"

#include <algorithm>
#include <exception>
#include <span>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/header.h"

namespace dlt::checkpoint {
namespace {

constexpr std::size_t kHeaderLength_bytes = 8;

std::uint64_t hash_in_block(int file, std::int64_t offset, std::span<const std::byte> bytes) {
  return xxh3(
      bytes, static_cast<std::uint64_t>(offset) * kFiles.size() + static_cast<std::uint64_t>(file));
}

/// The weights hash of a file that comes by in order.
class WeightsHash {
 public:
  /// header: the first bytes of the file, which this program has made.
  explicit WeightsHash(const std::string& header) : at_(static_cast<std::int64_t>(header.size())) {
    const std::string text = header.substr(kHeaderLength_bytes);
    for (const auto& [name, entry] : parse_header("model", text).tensors) {
      const auto dtype = dtype_from_safetensors(entry.dtype);
      DLT_CHECK(dtype.has_value(), cat("dtype of '", name, "'"));
      const std::vector<std::int64_t> dims(entry.shape.begin(), entry.shape.end());
      tensors_.push_back(
          {.prefix = weights_hash_prefix(name, {.shape = tensor::Shape(dims), .dtype = *dtype}),
           .end = at_ + static_cast<std::int64_t>(entry.end)});
    }
  }

  void update(std::int64_t offset, std::span<const std::byte> bytes) {
    const std::int64_t end = offset + static_cast<std::int64_t>(bytes.size());
    while (next_ < tensors_.size()) {
      const Part& tensor = tensors_[next_];
      if (!begun_) hash_.update(tensor.prefix);
      begun_ = true;
      const std::int64_t upto = std::min(tensor.end, end);
      if (upto > at_) {
        hash_.update(bytes.subspan(static_cast<std::size_t>(at_ - offset),
                                   static_cast<std::size_t>(upto - at_)));
        at_ = upto;
      }
      if (at_ < tensor.end) return;
      begun_ = false;
      ++next_;
    }
  }

  [[nodiscard]] std::string hex() { return hash_.hex(); }

 private:
  struct Part {
    std::string prefix;
    std::int64_t end = 0;  // in the file
  };

  std::vector<Part> tensors_;
  std::size_t next_ = 0;
  bool begun_ = false;
  std::int64_t at_;  // bytes of the file that are hashed, or no tensor's
  Sha256 hash_;
};

struct ReadBack {
  FileFacts facts;
  std::uint64_t checksum = 0;
  std::string weights_hash;
};

ReadBack read_back(const std::string& path, int file, const Draft& draft) {
  std::vector<Extent> extents;
  for (const Extent& extent : draft.extents) {
    if (extent.file == file) extents.push_back(extent);
  }
  ReadBack out;
  Sha256 hash;
  std::size_t next = 0;
  const auto take = [&](std::int64_t offset, std::span<const std::byte> bytes) {
    const std::int64_t end = offset + static_cast<std::int64_t>(bytes.size());
    hash.update(bytes);
    out.facts.num_bytes = end;
    for (; next < extents.size(); ++next) {
      const Extent& extent = extents[next];
      const std::int64_t from = std::max(extent.offset, offset);
      const std::int64_t to = std::min(extent.offset + extent.num_bytes, end);
      if (to > from) {
        out.checksum += hash_in_block(file, from,
                                      bytes.subspan(static_cast<std::size_t>(from - offset),
                                                    static_cast<std::size_t>(to - from)));
      }
      if (extent.offset + extent.num_bytes > end) return;
    }
  };
  read_blocks(path, {.block_bytes = kBlock_bytes, .fresh_from_disk = true}, take);
  out.facts.sha256 = hash.hex();
  return out;
}

ReadBack read_back_model(const std::string& path, const Draft& draft) {
  ReadBack out;
  std::exception_ptr failure;
  {
    // The two hashes of the model take as long as each other.
    const std::jthread weights([&] {
      try {
        WeightsHash hash(draft.model_header);
        read_blocks(path, {.block_bytes = kBlock_bytes},
                    [&](std::int64_t offset, std::span<const std::byte> bytes) {
                      hash.update(offset, bytes);
                    });
        out.weights_hash = hash.hex();
      } catch (...) {
        failure = std::current_exception();
      }
    });
    ReadBack whole = read_back(path, 0, draft);
    out.facts = std::move(whole.facts);
    out.checksum = whole.checksum;
  }
  if (failure) std::rethrow_exception(failure);
  return out;
}

}  // namespace

Metadata file_metadata(std::int64_t step) {
  return {{"format", "dltrain"}, {"step", std::to_string(step)}};
}

std::uint64_t checksum(const Stretch& stretch) {
  std::uint64_t sum = 0;
  const std::int64_t end = stretch.at.offset + stretch.at.num_bytes;
  for (std::int64_t at = stretch.at.offset; at < end;) {
    const std::int64_t next = std::min(end, (at / kBlock_bytes + 1) * kBlock_bytes);
    sum += hash_in_block(
        stretch.at.file, at,
        {stretch.data + (at - stretch.at.offset), static_cast<std::size_t>(next - at)});
    at = next;
  }
  return sum;
}

void complete_manifest(const std::string& folder, Draft& draft) {
  std::array<ReadBack, 2> found;
  std::array<std::string, 2> paths{cat(folder, "/", kFiles[0]), cat(folder, "/", kFiles[1])};
  std::exception_ptr failure;
  {
    const std::jthread optimizer([&] {
      try {
        found[1] = read_back(paths[1], 1, draft);
      } catch (...) {
        failure = std::current_exception();
      }
    });
    found[0] = read_back_model(paths[0], draft);
  }
  if (failure) std::rethrow_exception(failure);
  for (std::size_t file = 0; file < kFiles.size(); ++file) {
    if (found[file].facts.num_bytes == draft.num_bytes[file]) continue;
    throw Error(Exit::io, cat(paths[file], ": read back ", found[file].facts.num_bytes,
                              " bytes, wrote ", draft.num_bytes[file]));
  }
  if (found[0].checksum + found[1].checksum != draft.checksum) {
    throw Error(Exit::io, cat(folder, ": what was read back is not what was written"),
                "suspect the disk or the network in front of it");
  }
  for (std::size_t file = 0; file < kFiles.size(); ++file) {
    draft.manifest.files[kFiles[file]] = found[file].facts;
  }
  draft.manifest.weights_hash = found[0].weights_hash;
}

}  // namespace dlt::checkpoint
