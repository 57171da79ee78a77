// SPDX-License-Identifier: Apache-2.0
#include "train/hash_chain.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <charconv>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

namespace dlt::train {
namespace {

constexpr std::int64_t kPiece_numel = 1 << 15;  // 128 KiB
/// Below this a pool takes longer to wake than one thread to hash.
constexpr std::int64_t kAlone_numel = 1 << 16;
constexpr std::size_t kWindow_bytes = 1 << 20;

/// The step of a line "{"step": 12, ...", -1 if it is none.
std::int64_t step_in(std::string_view line) {
  constexpr std::string_view kBegin = "{\"step\": ";
  if (!line.starts_with(kBegin)) return -1;
  std::int64_t step = -1;
  (void)std::from_chars(line.data() + kBegin.size(), line.data() + line.size(), step);
  return step;
}

/// The hash at the end of a line without its newline, none if there is none.
std::optional<std::uint64_t> chain_of(std::string_view line) {
  constexpr std::size_t kTail = 16 + 2;  // digits, quote, brace
  if (line.size() < kTail || !line.ends_with("\"}")) return {};
  const char* digits = line.data() + line.size() - kTail;
  std::uint64_t chain = 0;
  const auto end = std::from_chars(digits, digits + 16, chain, 16);
  return end.ptr == digits + 16 ? std::optional(chain) : std::nullopt;
}

std::string read_range(const std::string& path, std::size_t begin, std::size_t num_bytes) {
  std::ifstream in(path, std::ios::binary);
  std::string text(num_bytes, '\0');
  in.seekg(static_cast<std::streamoff>(begin));
  in.read(text.data(), static_cast<std::streamsize>(num_bytes));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(in.gcount(), 0)));
  return text;
}

struct Place {
  std::size_t end = 0;  // of the line, in the file
  std::uint64_t chain = 0;
};

/// The last line of a step up to steps_done, looked for from the end of the file.
std::optional<Place> find_last(const std::string& path, std::size_t size, std::size_t header,
                               std::int64_t steps_done) {
  for (std::size_t window = kWindow_bytes;; window *= 2) {
    const std::size_t begin = size - header > window ? size - window : header;
    const std::string text = read_range(path, begin, size - begin);
    std::size_t at = begin == header ? 0 : text.find('\n') + 1;  // a whole line begins here
    std::optional<Place> found;
    for (std::size_t end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      const std::string_view line = std::string_view(text).substr(at, end - at);
      const std::int64_t step = step_in(line);
      const auto chain = chain_of(line);
      if (step < 0 || step > steps_done || !chain) break;
      found = Place{.end = begin + end + 1, .chain = *chain};
    }
    if (found || begin == header) return found;
  }
}

}  // namespace

FlatHasher::FlatHasher(const tensor::FlatLayout& layout, ThreadPool& pool)
    : layout_(&layout), pool_(&pool), hashes_(layout.entries.size()) {
  for (std::size_t i = 0; i < layout.entries.size(); ++i) {
    const auto& entry = layout.entries[i];
    for (std::int64_t at = 0; at < entry.numel; at += kPiece_numel) {
      pieces_.push_back({.entry = i,
                         .begin = entry.offset + at,
                         .numel = std::min(kPiece_numel, entry.numel - at)});
    }
  }
}

const std::vector<std::uint64_t>& FlatHasher::run(const float* flat) {
  std::atomic<std::size_t> next{0};
  const auto work = [&](int) {
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pieces_.size();) {
      Piece& piece = pieces_[i];
      piece.hash =
          xxh3(std::as_bytes(std::span(flat + piece.begin, static_cast<std::size_t>(piece.numel))));
    }
  };
  if (layout_->total <= kAlone_numel) {
    work(0);
  } else {
    pool_->run(work);
  }
  std::fill(hashes_.begin(), hashes_.end(), 0);
  for (const Piece& piece : pieces_) {
    std::uint64_t& hash = hashes_[piece.entry];
    hash = xxh3(std::as_bytes(std::span(&piece.hash, 1)), hash);
  }
  return hashes_;
}

std::vector<std::string> FlatHasher::names() const {
  std::vector<std::string> out;
  for (const auto& entry : layout_->entries) out.push_back(entry.name);
  return out;
}

std::uint64_t combined(const std::vector<std::uint64_t>& hashes) {
  return xxh3(std::as_bytes(std::span(hashes)));
}

StepHashes hash_step(const StepReport& report, const SumLayout& sums) {
  const bool skipped = !report.counts;
  return {.step = report.step + 1,
          .skipped = skipped ? std::string(name(report.trouble)) : std::string(),
          .samples = static_cast<std::uint64_t>(report.sums.back()),
          .loss = report.sums[1] > 0 ? std::bit_cast<std::uint64_t>(sums.loss(report.sums)) : 0,
          .gradients = {},
          .parameters = {}};
}

HashChain::HashChain(std::string path, const std::vector<std::string>& parameters,
                     std::int64_t steps_done)
    : path_(std::move(path)), header_(hash_log_header(parameters)) {
  begin(steps_done);
}

void HashChain::rewind(std::int64_t steps_done) { begin(steps_done); }

void HashChain::begin(std::int64_t steps_done) {
  namespace fs = std::filesystem;
  out_ = {};
  broken_ = false;
  std::error_code error;
  const auto size = static_cast<std::size_t>(fs::exists(path_) ? fs::file_size(path_, error) : 0);
  chain_ = chain_start(header_);
  std::size_t keep = 0;
  if (size >= header_.size() && read_range(path_, 0, header_.size()) == header_) {
    keep = header_.size();
    if (const auto last = find_last(path_, size, keep, steps_done)) {
      keep = last->end;
      chain_ = last->chain;
    }
  }
  if (size > keep) fs::resize_file(path_, keep, error);
  out_.open(path_, std::ios::binary | std::ios::app);
  if (keep == 0) out_ << header_ << std::flush;
  if (error || !out_) {
    throw Error(Exit::io, cat(path_, ": cannot be written",
                              error ? cat(": ", error.message()) : std::string()));
  }
}

bool HashChain::append(const StepHashes& hashes) {
  if (broken_) return true;
  out_ << hash_log_line(hashes, chain_) << std::flush;
  broken_ = !out_;
  return !broken_;
}

}  // namespace dlt::train
