// SPDX-License-Identifier: Apache-2.0
// Changes to training samples: flips, crops, mixtures. Every draw is a function of the seed, the
// epoch and the sample's id; partners of mixtures are rows of the same leaf. So the bits depend on
// the leaves, never on ranks or threads.
#pragma once

#include <cstdint>
#include <span>

#include "data/dataset.h"
#include "tensor/shape.h"

namespace dlt::data {

struct AugmentOptions {
  bool flip_horizontal = false, flip_vertical = false;  // each with probability 1/2
  std::int64_t crop_padding = 0;  // pixels put around an image before a crop of its size; 0: none
  float crop_fill = 0;            // their value
  double mixup_alpha = 0;  // above 0: mixes with a partner, x = l·a + (1 − l)·b, l ~ Beta(a, a)
  double cutmix_alpha = 0;  // above 0: a rectangle of the partner, of share 1 − l. Both: a coin
                            // decides, sample by sample

  [[nodiscard]] bool moves() const { return flip_horizontal || flip_vertical || crop_padding > 0; }
  [[nodiscard]] bool mixes() const { return mixup_alpha > 0 || cutmix_alpha > 0; }
  [[nodiscard]] bool any() const { return moves() || mixes(); }
};

/// The rows of one leaf: its real samples, and what is done to them.
struct AugmentRows {
  std::int64_t count = 0;
  std::uint64_t epoch = 0;
  std::span<const std::int64_t> ids;  // count of them
  const float* inputs = nullptr;      // as read, [count, input]
  const void* targets = nullptr;      // as read
  float* moved = nullptr;             // scratch like inputs, if both moves() and mixes()
  float* out_inputs = nullptr;
  void* out_targets = nullptr;         // [count, target_numel()] f32 if mixes(), else as targets
  std::int32_t* out_labels = nullptr;  // if mixed labels: [count], the label of the larger share
};

class Augment {
 public:
  struct Sample {
    tensor::Shape input;  // [height, width, channels] for all but mixup
    tensor::Shape target;
    TargetKind target_kind = TargetKind::values;
    std::int64_t num_classes = 0;  // of labels
  };
  Augment(const AugmentOptions& options, const Sample& sample, std::uint64_t seed);

  /// Numbers of a sample's target as apply() leaves it: mixed labels are distributions, f32
  /// [num_classes].
  [[nodiscard]] std::int64_t target_numel() const;
  [[nodiscard]] bool mixes_labels() const {
    return options_.mixes() && sample_.target_kind == TargetKind::labels;
  }
  [[nodiscard]] const AugmentOptions& options() const { return options_; }
  void apply(const AugmentRows& rows) const;

 private:
  struct Mixture;
  [[nodiscard]] Mixture mixture(const AugmentRows& rows, std::int64_t row) const;
  void move(const AugmentRows& rows, std::int64_t row, float* to) const;
  void mix_inputs(const float* own, const float* partner, const Mixture& mixture, float* to) const;
  void mix_targets(const AugmentRows& rows, std::int64_t row, const Mixture& mixture) const;

  AugmentOptions options_;
  Sample sample_;
  std::uint64_t seed_;
};

/// A number of the symmetric Beta(alpha, alpha) distribution: a pure function of the key.
[[nodiscard]] double beta_sample(double alpha, std::uint64_t seed, std::uint64_t epoch,
                                 std::uint64_t sample);

}  // namespace dlt::data
