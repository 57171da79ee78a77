// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <vector>

#include "support/op_sample_families.h"

namespace dlt::support {
namespace {

using tensor::Attrs;

void add_cross_entropy(std::vector<OpSample>& samples) {
  const Attrs smooth{{"label_smoothing", 0.1}};
  samples.push_back({"softmax", {{{3, 7}}}, {}});
  samples.push_back({"softmax", {{{2, 2, 19}}}, {}});
  samples.push_back({"log_softmax", {{{3, 7}}}, {}});
  samples.push_back({"softmax_grad", {{{3, 7}, Fill::rows}, {{3, 7}}}, {}});
  samples.push_back({"log_softmax_grad", {{{3, 7}, Fill::log_rows}, {{3, 7}}}, {}});
  for (const Attrs& attrs : {Attrs{}, smooth}) {
    for (const SampleInput& labelling : {labels({3}, 7), target({3, 7}, Fill::rows)}) {
      samples.push_back({"nll", {{{3, 7}, Fill::log_rows}, labelling}, attrs});
      samples.push_back({"nll_grad", {{{3, 7}, Fill::log_rows}, labelling, {{3}}}, attrs});
      samples.push_back({"softmax_cross_entropy", {{{3, 7}}, labelling}, attrs});
      samples.push_back({"softmax_cross_entropy_grad",
                         {{{3, 7}}, labelling, {{3}, Fill::positive}, {{3}}},
                         attrs});
    }
  }
}

void add_losses(std::vector<OpSample>& samples) {
  for (const char* op : {"mse_loss", "mae_loss", "huber_loss", "bce_with_logits_loss"}) {
    samples.push_back({op, {{{3, 7}}, target({3, 7})}, {}});
    samples.push_back({op, {{{4}}, target({4})}, {}});
    samples.push_back({std::string(op) + "_grad", {{{3, 2, 9}}, target({3, 2, 9}), {{3}}}, {}});
  }
  samples.push_back({"huber_loss", {{{3, 7}}, target({3, 7})}, {{"delta", 0.4}}});
  samples.push_back({"huber_loss_grad", {{{3, 7}}, target({3, 7}), {{3}}}, {{"delta", 0.4}}});
  const Attrs smooth{{"label_smoothing", 0.2}};
  samples.push_back({"bce_with_logits_loss", {{{3, 7}}, target({3, 7})}, smooth});
  samples.push_back({"bce_with_logits_loss_grad", {{{3, 7}}, target({3, 7}), {{3}}}, smooth});
  for (const Attrs& attrs : {Attrs{}, smooth}) {
    const SampleInput p{{3, 7}, Fill::probability};
    samples.push_back({"bce_loss", {p, target({3, 7}, Fill::probability)}, attrs});
    samples.push_back({"bce_loss_grad", {p, target({3, 7}, Fill::probability), {{3}}}, attrs});
  }
}

}  // namespace

void add_loss_samples(std::vector<OpSample>& samples) {
  add_cross_entropy(samples);
  add_losses(samples);
}

}  // namespace dlt::support
