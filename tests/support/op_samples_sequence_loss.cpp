// SPDX-License-Identifier: Apache-2.0
// Losses of class labels with several labels a sample, some of which do not count; CTC.
#include <cstdint>
#include <string>
#include <vector>

#include "support/op_sample_families.h"

namespace dlt::support {
namespace {

using tensor::Attrs;
using Numbers = std::vector<double>;

/// Labels of class 2 stand for those that do not count.
const Attrs kIgnore{{"ignore_index", std::int64_t{2}}};
const Attrs kWeights{{"ignore_index", std::int64_t{1}},
                     {"label_smoothing", 0.1},
                     {"class_weights", Numbers{0.5, 1, 2, 0, 1.5, 0.25, 1, 3, 1}}};

void add_sequence_cross_entropy(std::vector<OpSample>& samples) {
  const tensor::Shape shape{3, 5, 9}, rows{3, 5};
  for (const Attrs& attrs : {Attrs{}, kIgnore, kWeights}) {
    for (const SampleInput& labelling : {labels(rows, 9), target(shape, Fill::rows)}) {
      samples.push_back({"nll", {{shape, Fill::log_rows}, labelling}, attrs});
      samples.push_back({"nll_grad", {{shape, Fill::log_rows}, labelling, {{3}}}, attrs});
      samples.push_back({"softmax_cross_entropy", {{shape}, labelling}, attrs});
      samples.push_back({"softmax_cross_entropy_grad",
                         {{shape}, labelling, {rows, Fill::positive}, {{3}}},
                         attrs});
    }
  }
  // Every label of every sample is ignored; and a plain case of one label a sample.
  samples.push_back({"softmax_cross_entropy",
                     {{{2, 3, 4}}, labels({2, 3}, 1)},
                     {{"ignore_index", std::int64_t{0}}}});
  samples.push_back({"softmax_cross_entropy", {{{3, 7}}, labels({3}, 7)}, kIgnore});
}

void add_label_loss(std::vector<OpSample>& samples, const std::string& op, const Attrs& attrs) {
  const tensor::Shape long_shape{3, 5, 9};
  samples.push_back({op, {{long_shape}, labels({3, 5}, 9)}, attrs});
  samples.push_back({op + "_grad", {{long_shape}, labels({3, 5}, 9), {{3}}}, attrs});
  if (!attrs.numbers("class_weights").empty()) return;
  samples.push_back({op, {{{3, 7}}, labels({3}, 7)}, attrs});
  samples.push_back({op + "_grad", {{{3, 7}}, labels({3}, 7), {{3}}}, attrs});
}

void add_ctc(std::vector<OpSample>& samples) {
  const Attrs last{{"blank", std::int64_t{8}}, {"per_label", std::int64_t{0}}};
  const Attrs lenient{{"blank", std::int64_t{8}}, {"zero_infinity", std::int64_t{1}}};
  const SampleInput logp{{4, 12, 9}, Fill::log_rows};
  const SampleInput some{{4, 5}, Fill::some_labels, 8, false};
  const SampleInput wide{{2, 25}, Fill::some_labels, 4, false};
  const SampleInput long_logp{{2, 60, 5}, Fill::log_rows};
  const Attrs fourth{{"blank", std::int64_t{4}}};
  for (const Attrs& attrs : {last, lenient}) {
    samples.push_back({"ctc_loss", {logp, some}, attrs});
    samples.push_back({"ctc_loss_grad", {logp, some, {{4}}}, attrs});
  }
  samples.push_back({"ctc_loss", {long_logp, wide}, fourth});
  samples.push_back({"ctc_loss_grad", {long_logp, wide, {{2}}}, fourth});
  // Few steps for many labels: some samples are impossible.
  const SampleInput tight{{4, 3, 9}, Fill::log_rows};
  samples.push_back({"ctc_loss", {tight, some}, lenient});
  samples.push_back({"ctc_loss_grad", {tight, some, {{4}}}, lenient});
  // A mask: log-probabilities of its own make the count of real steps random.
  const SampleInput mask = target({4, 12}, Fill::probability);
  samples.push_back({"ctc_loss", {logp, some, mask}, lenient});
  samples.push_back({"ctc_loss_grad", {logp, some, {{4}}, mask}, lenient});
}

}  // namespace

void add_sequence_loss_samples(std::vector<OpSample>& samples) {
  add_sequence_cross_entropy(samples);
  add_label_loss(samples, "categorical_hinge_loss", kIgnore);
  for (const double gamma : {0.0, 1.0, 2.0, 3.5}) {
    add_label_loss(samples, "focal_loss", {{"gamma", gamma}, {"alpha", 0.7}});
  }
  add_label_loss(samples, "focal_loss", kIgnore);
  add_label_loss(samples, "focal_loss", kWeights);
  add_ctc(samples);
  const SampleInput mask = target({4, 12}, Fill::probability);
  samples.push_back({"masked_mean", {{{4, 12}}, mask}, {}});
  samples.push_back({"masked_mean_grad", {mask, {{4}}}, {}});
  samples.push_back({"mask_labels", {labels({3, 7}, 5), target({3, 7}, Fill::probability)}, {}});
}

}  // namespace dlt::support
