// SPDX-License-Identifier: Apache-2.0
#include "data/memory_dataset.h"

#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

namespace dlt::data {
namespace {

using Bytes = std::span<const std::byte>;

class MemoryDataset final : public Dataset {
 public:
  explicit MemoryDataset(const MemoryRows& rows)
      : rows_(rows),
        input_bytes_(rows.input_shape.numel() * 4),
        target_bytes_(rows.targets.empty() ? 0 : rows.target_shape.numel() * 4) {
    DLT_CHECK(input_bytes_ > 0 && rows.inputs.size() % static_cast<std::size_t>(input_bytes_) == 0,
              "rows of whole samples");
    num_rows_ = static_cast<std::int64_t>(rows.inputs.size()) / input_bytes_;
  }

  [[nodiscard]] std::int64_t num_rows() const override { return num_rows_; }
  [[nodiscard]] tensor::Shape input_shape() const override { return rows_.input_shape; }
  [[nodiscard]] tensor::Shape target_shape() const override { return rows_.target_shape; }
  [[nodiscard]] bool in_memory() const override { return true; }
  [[nodiscard]] std::uint64_t fingerprint() const override {
    return xxh3(rows_.inputs) ^ mixed(xxh3(rows_.targets));
  }
  void read(std::span<const std::int64_t> rows, void* inputs, void* targets) const override {
    auto* in = static_cast<std::byte*>(inputs);
    auto* out = static_cast<std::byte*>(targets);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      copy(rows_.inputs, rows[i], input_bytes_, in + static_cast<std::int64_t>(i) * input_bytes_);
      if (targets == nullptr) continue;
      copy(rows_.targets, rows[i], target_bytes_,
           out + static_cast<std::int64_t>(i) * target_bytes_);
    }
  }

 private:
  static std::uint64_t mixed(std::uint64_t x) { return x * 0x9e3779b97f4a7c15ULL + 1; }
  static void copy(Bytes from, std::int64_t row, std::int64_t num_bytes, std::byte* to) {
    std::memcpy(to, from.data() + row * num_bytes, static_cast<std::size_t>(num_bytes));
  }

  MemoryRows rows_;
  std::int64_t input_bytes_, target_bytes_, num_rows_ = 0;
};

}  // namespace

std::unique_ptr<Dataset> make_memory_dataset(const MemoryRows& rows) {
  return std::make_unique<MemoryDataset>(rows);
}

}  // namespace dlt::data
