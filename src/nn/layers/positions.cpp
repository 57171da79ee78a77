// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "base/text.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

using autodiff::ValueId;

void expect_sequence(const BuildContext& context, ValueId x) {
  if (context.graph.shape(x).rank() != 3) refuse_input(context, x, "sequences [T, C]");
}

/// Adds a learned vector for each position, the same for every sample.
/// shapes  x [B, T, C], weight [max_length, C] with T <= max_length
class PositionalEmbedding final : public Layer {
 public:
  PositionalEmbedding(std::optional<std::int64_t> max_length, const Init& init)
      : max_length_(max_length), init_(init) {}

  [[nodiscard]] ValueId build(BuildContext& context, ValueId x) const override {
    expect_sequence(context, x);
    const std::int64_t length = context.graph.shape(x)[1], size = context.graph.shape(x)[2];
    const std::int64_t positions = max_length_.value_or(length);
    if (length > positions) {
      refuse_input(context, x, cat("a sequence of at most ", positions, " positions"),
                   cat("max_length of '", context.name, "' is ", positions, ", the sequence has ",
                       length, " positions"));
    }
    Init init = init_;
    init.fan_in = static_cast<double>(positions);
    init.fan_out = static_cast<double>(size);
    const ValueId weight = context.param("weight", {positions, size}, init);
    return context.graph.add_one("position_add", {x, weight});
  }

 private:
  std::optional<std::int64_t> max_length_;
  Init init_;
};

/// Adds sines and cosines of the position.
/// source  Vaswani et al. 2017, section 3.5
class SinusoidalEmbedding final : public Layer {
 public:
  explicit SinusoidalEmbedding(double theta) : theta_(theta) {}

  [[nodiscard]] ValueId build(BuildContext& context, ValueId x) const override {
    expect_sequence(context, x);
    return context.graph.add_one("sinusoid_add", {x}, {{"theta", theta_}});
  }

 private:
  double theta_;
};

}  // namespace

std::unique_ptr<Layer> make_positional_embedding(config::MapReader& options) {
  const auto max_length = options.integer_or_auto("max_length", {.min = 1, .max = INT32_MAX});
  const Init init =
      read_init(options, "embeddings_init", Init{.kind = InitKind::normal, .stddev = 0.02});
  return std::make_unique<PositionalEmbedding>(max_length, init);
}

std::unique_ptr<Layer> make_sinusoidal_embedding(config::MapReader& options) {
  return std::make_unique<SinusoidalEmbedding>(
      options.number("theta", {.min = 1, .max = 1e12}, 10000.0));
}

}  // namespace dlt::nn
