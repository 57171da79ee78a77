// SPDX-License-Identifier: Apache-2.0
#include "data/column.h"

#include "base/hash.h"
#include "base/text.h"

namespace dlt::data {
namespace {

constexpr std::int64_t kMaxChunkCache_bytes = std::int64_t{256} << 20;

}  // namespace

Column::Column(const h5::Handle& file, const std::string& file_name, const std::string& name,
               const Samples& samples)
    : name_(name),
      where_(cat(file_name, ": '", printable(name), "'")),
      samples_(samples),
      open_(h5::open_dataset(file, file_name, name)),
      row_bytes_(open_.description.row_bytes()) {}

std::int64_t Column::num_samples() const {
  return rows() < samples_.extent ? 0 : (rows() - samples_.extent) / samples_.stride + 1;
}

std::string Column::place_text(std::int64_t row, std::int64_t element) const {
  return row_numel() == 1 ? cat("row ", row) : cat("row ", row, " element ", element);
}

void Column::load() {
  cache_ = tensor::Storage::allocate(about().bytes());
  h5::read_rows(open_, where_, 0, rows(), cache_.data());
  open_.handle.reset();
}

void Column::prepare_scattered(const h5::Handle& file, const std::string& file_name) {
  if (about().chunk.empty()) return;
  std::int64_t chunk_bytes = static_cast<std::int64_t>(size_bytes(dtype()));
  for (const std::int64_t size : about().chunk) chunk_bytes *= size;
  const std::int64_t cache_bytes =
      std::clamp(std::max(32 * chunk_bytes, std::int64_t{1} << 20), chunk_bytes,
                 std::max(chunk_bytes, kMaxChunkCache_bytes));
  open_ = h5::open_dataset(file, file_name, name_, {.chunk_cache_bytes = cache_bytes});
}

std::uint64_t Column::fingerprint(std::uint64_t seed) const {
  const std::string facts =
      cat(name_, "|", h5::shape_text(about().dims), "|", ::dlt::name(dtype()));
  const std::uint64_t hash = xxh3(facts, seed);
  if (!cached()) return hash;
  return xxh3({cache_.data(), static_cast<std::size_t>(about().bytes())}, hash);
}

Column::Scratch& Column::thread_scratch() {
  thread_local Scratch scratch;
  return scratch;
}

void Column::read(std::int64_t first, std::int64_t count, std::vector<std::byte>& out) const {
  const auto needed = static_cast<std::size_t>(count * row_bytes_);
  if (out.size() < needed) out.resize(needed);
  h5::read_rows(open_, where_, first, count, out.data());
}

}  // namespace dlt::data
