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

/// An element-wise loss and its derivative, of several shapes.
void add_value_loss(std::vector<OpSample>& samples, const std::string& op, const Attrs& attrs,
                    Fill prediction = Fill::normal, Fill wanted = Fill::normal) {
  for (const tensor::Shape& shape : {tensor::Shape{3, 7}, tensor::Shape{3, 2, 9}}) {
    samples.push_back({op, {{shape, prediction}, target(shape, wanted)}, attrs});
    samples.push_back({op + "_grad", {{shape, prediction}, target(shape, wanted), {{3}}}, attrs});
  }
}

void add_losses(std::vector<OpSample>& samples) {
  const Attrs smooth{{"label_smoothing", 0.2}};
  for (const char* op : {"mse_loss", "mae_loss", "huber_loss", "bce_with_logits_loss", "hinge_loss",
                         "squared_hinge_loss", "log_cosh_loss", "cosine_similarity_loss"}) {
    add_value_loss(samples, op, {});
  }
  for (const char* op : {"mse_loss", "mae_loss", "huber_loss", "bce_with_logits_loss"}) {
    samples.push_back({op, {{{4}}, target({4})}, {}});
  }
  add_value_loss(samples, "huber_loss", {{"delta", 0.4}});
  add_value_loss(samples, "bce_with_logits_loss", smooth);
  for (const Attrs& attrs : {Attrs{}, smooth}) {
    add_value_loss(samples, "bce_loss", attrs, Fill::probability, Fill::probability);
  }
  for (const double gamma : {0.0, 1.0, 2.0, 0.5, 3.5}) {
    add_value_loss(samples, "binary_focal_loss", {{"alpha", 0.3}, {"gamma", gamma}}, Fill::normal,
                   Fill::probability);
  }
  add_value_loss(samples, "kl_loss", {}, Fill::log_rows, Fill::rows);
  add_value_loss(samples, "poisson_loss", {}, Fill::normal, Fill::positive);
  add_value_loss(samples, "poisson_loss", {{"log_input", std::int64_t{0}}}, Fill::positive,
                 Fill::positive);
}

}  // namespace

void add_loss_samples(std::vector<OpSample>& samples) {
  add_cross_entropy(samples);
  add_losses(samples);
}

}  // namespace dlt::support
