// SPDX-License-Identifier: Apache-2.0
#include "optim/options.h"

#include "base/text.h"

namespace dlt::optim {

Betas read_betas(config::MapReader& options, Betas fallback) {
  const std::size_t mistakes = options.diagnostics().size();
  const std::vector<double> betas =
      options.numbers("betas", {.min = 0, .max = 1, .max_open = true},
                      std::vector<double>{fallback.first, fallback.second});
  if (betas.size() == 2) return {betas[0], betas[1]};
  if (options.diagnostics().size() == mistakes) {
    options.error("betas", cat("expected a list of two numbers, got ", betas.size()),
                  "the decay of the mean and of the mean square: [0.9, 0.999]");
  }
  return fallback;
}

double read_eps(config::MapReader& options, double fallback) {
  return options.number("eps", {.min = 0, .min_open = true}, fallback);
}

double read_learning_rate(config::MapReader& options, double fallback) {
  return options.number("learning_rate", {.min = 0}, fallback);
}

double read_weight_decay(config::MapReader& options, double fallback) {
  return options.number("weight_decay", {.min = 0}, fallback);
}

double read_fraction(config::MapReader& options, const char* key, double fallback) {
  return options.number(key, {.min = 0, .max = 1, .max_open = true}, fallback);
}

}  // namespace dlt::optim
