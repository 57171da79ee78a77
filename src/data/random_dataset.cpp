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

/// As many different rows as fit the limit; the rows after them repeat. Numbers and labels are kept
/// as the 4 bytes that read() gives.
class RandomDataset final : public Dataset {
 public:
  explicit RandomDataset(const RandomDatasetOptions& options)
      : options_(options),
        input_numel_(options.input_shape.numel()),
        target_numel_(options.target_shape.numel()) {
    DLT_CHECK(options.num_rows >= 1 && input_numel_ >= 1 && target_numel_ >= 1,
              "empty random data set");
    const std::int64_t row_bytes = (input_numel_ + target_numel_) * 4;
    stored_rows_ = std::clamp<std::int64_t>(kMaxStored_bytes / row_bytes, 1, options.num_rows);
    const std::int64_t num_inputs = stored_rows_ * input_numel_;
    const std::int64_t num_targets = stored_rows_ * target_numel_;
    inputs_ = options.num_tokens > 0
                  ? whole_numbers(num_inputs, options.num_tokens, rng::mix(options.seed))
                  : unit_numbers(num_inputs, rng::mix(options.seed));
    targets_ = options.target_kind == TargetKind::values
                   ? unit_numbers(num_targets, rng::mix(options.seed + 1))
                   : whole_numbers(num_targets, options.num_classes, rng::mix(options.seed + 2));
  }

  [[nodiscard]] std::int64_t num_rows() const override { return options_.num_rows; }
  [[nodiscard]] tensor::Shape input_shape() const override { return options_.input_shape; }
  [[nodiscard]] tensor::Shape target_shape() const override { return options_.target_shape; }
  [[nodiscard]] bool in_memory() const override { return true; }
  [[nodiscard]] std::int64_t cached_bytes() const override {
    return static_cast<std::int64_t>(4 * (inputs_.size() + targets_.size()));
  }
  [[nodiscard]] std::uint64_t fingerprint() const override {
    return xxh3(cat("random|", options_.num_rows, "|", options_.input_shape.text(), "|",
                    options_.target_shape.text()),
                options_.seed);
  }

  void read(std::span<const std::int64_t> rows, void* inputs, void* targets) const override {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto place = static_cast<std::int64_t>(i);
      const std::int64_t row = rows[i] % stored_rows_;
      copy(inputs_, row, input_numel_, static_cast<std::byte*>(inputs) + 4 * place * input_numel_);
      if (targets == nullptr) continue;
      copy(targets_, row, target_numel_,
           static_cast<std::byte*>(targets) + 4 * place * target_numel_);
    }
  }

 private:
  using Words = std::vector<std::uint32_t>;

  static Words unit_numbers(std::int64_t count, std::uint64_t key) {
    Words out(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < out.size(); ++i) {
      const float value = rng::to_unit(static_cast<std::uint32_t>(rng::mix(key + i) >> 32));
      std::memcpy(&out[i], &value, sizeof(value));
    }
    return out;
  }
  static Words whole_numbers(std::int64_t count, std::int64_t limit, std::uint64_t key) {
    Words out(static_cast<std::size_t>(count));
    const auto below = static_cast<std::uint64_t>(std::max<std::int64_t>(1, limit));
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = static_cast<std::uint32_t>(rng::mix(key + i) % below);
    }
    return out;
  }
  static void copy(const Words& from, std::int64_t row, std::int64_t numel, std::byte* out) {
    std::memcpy(out, from.data() + row * numel, static_cast<std::size_t>(numel) * 4);
  }

  RandomDatasetOptions options_;
  std::int64_t input_numel_;
  std::int64_t target_numel_;
  std::int64_t stored_rows_ = 0;
  Words inputs_;
  Words targets_;
};

}  // namespace

std::unique_ptr<Dataset> make_random_dataset(const RandomDatasetOptions& options) {
  return std::make_unique<RandomDataset>(options);
}

}  // namespace dlt::data
