// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/text.h"
#include "data/dataset.h"

namespace dlt::data {
namespace {

constexpr std::int64_t kMaxStored_bytes = std::int64_t{64} << 20;

/// As many different rows as fit the limit; the rows after them repeat.
class RandomDataset final : public Dataset {
 public:
  RandomDataset(std::int64_t num_rows, const tensor::Shape& input_shape,
                const tensor::Shape& target_shape, TargetKind kind, std::int64_t num_classes,
                std::uint64_t seed)
      : num_rows_(num_rows),
        input_shape_(input_shape),
        target_shape_(kind == TargetKind::values ? target_shape : tensor::Shape{}),
        kind_(kind),
        seed_(seed),
        input_numel_(input_shape.numel()),
        target_numel_(target_shape_.numel()) {
    DLT_CHECK(num_rows >= 1 && input_numel_ >= 1 && target_numel_ >= 1, "empty random data set");
    const std::int64_t row_bytes = (input_numel_ + target_numel_) * 4;
    stored_rows_ = std::clamp<std::int64_t>(kMaxStored_bytes / row_bytes, 1, num_rows);
    fill(inputs_, stored_rows_ * input_numel_, rng::mix(seed));
    if (kind == TargetKind::values) {
      fill(values_, stored_rows_ * target_numel_, rng::mix(seed + 1));
      return;
    }
    const auto classes = static_cast<std::uint64_t>(std::max<std::int64_t>(1, num_classes));
    for (std::int64_t i = 0; i < stored_rows_; ++i) {
      const std::uint64_t word = rng::mix(rng::mix(seed + 2) + static_cast<std::uint64_t>(i));
      labels_.push_back(static_cast<std::int32_t>(word % classes));
    }
  }

  [[nodiscard]] std::int64_t num_rows() const override { return num_rows_; }
  [[nodiscard]] tensor::Shape input_shape() const override { return input_shape_; }
  [[nodiscard]] tensor::Shape target_shape() const override { return target_shape_; }
  [[nodiscard]] bool in_memory() const override { return true; }
  [[nodiscard]] std::int64_t cached_bytes() const override {
    return static_cast<std::int64_t>(4 * (inputs_.size() + values_.size() + labels_.size()));
  }
  [[nodiscard]] std::uint64_t fingerprint() const override {
    return xxh3(cat("random|", num_rows_, "|", input_shape_.text(), "|", target_shape_.text()),
                seed_);
  }

  void read(std::span<const std::int64_t> rows, float* inputs, void* targets) const override {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::int64_t place = static_cast<std::int64_t>(i);
      const std::int64_t row = rows[i] % stored_rows_;
      copy(inputs_, row, input_numel_, inputs + place * input_numel_);
      if (targets == nullptr) continue;
      if (kind_ == TargetKind::values) {
        copy(values_, row, target_numel_, static_cast<float*>(targets) + place * target_numel_);
      } else {
        static_cast<std::int32_t*>(targets)[i] = labels_[static_cast<std::size_t>(row)];
      }
    }
  }

 private:
  static void fill(std::vector<float>& out, std::int64_t count, std::uint64_t key) {
    out.resize(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = rng::to_unit(static_cast<std::uint32_t>(rng::mix(key + i) >> 32));
    }
  }
  static void copy(const std::vector<float>& from, std::int64_t row, std::int64_t numel,
                   float* out) {
    std::memcpy(out, from.data() + row * numel, static_cast<std::size_t>(numel) * sizeof(float));
  }

  std::int64_t num_rows_;
  tensor::Shape input_shape_;
  tensor::Shape target_shape_;
  TargetKind kind_;
  std::uint64_t seed_;
  std::int64_t input_numel_;
  std::int64_t target_numel_;
  std::int64_t stored_rows_ = 0;
  std::vector<float> inputs_;
  std::vector<float> values_;
  std::vector<std::int32_t> labels_;
};

}  // namespace

std::unique_ptr<Dataset> make_random_dataset(std::int64_t num_rows, tensor::Shape input_shape,
                                             tensor::Shape target_shape, TargetKind kind,
                                             std::int64_t num_classes, std::uint64_t seed) {
  return std::make_unique<RandomDataset>(num_rows, input_shape, target_shape, kind, num_classes,
                                         seed);
}

}  // namespace dlt::data
