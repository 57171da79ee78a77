// SPDX-License-Identifier: Apache-2.0
#include "ops/activation.h"

#include <string>

#include "base/text.h"
#include "ops/rules.h"

namespace dlt::ops {

const Activation& activation_of(std::string_view op, const tensor::Attrs& attrs) {
  const std::string name = attrs.word("activation", "none");
  const Activation* activation = find_activation(name);
  if (activation == nullptr) {
    rule_broken(op, cat("activation is ", printable(name),
                        "; want leaky_relu, none, relu, sigmoid, softplus or tanh"));
  }
  return *activation;
}

double activation_alpha(const tensor::Attrs& attrs) { return attrs.number("alpha", 0.01); }

void check_activation(std::string_view op, const tensor::Attrs& attrs) {
  if (activation_of(op, attrs).name != "leaky_relu") return;
  const double alpha = activation_alpha(attrs);
  expect_number(op, "alpha", alpha, alpha >= 0, "alpha >= 0");
}

}  // namespace dlt::ops
