// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/flat_layout.h"

namespace dlt::config {
class MapReader;
}

namespace dlt::nn {

enum class InitKind : std::uint8_t {
  zeros,
  ones,
  normal,
  glorot_uniform,
  glorot_normal,
  he_uniform,
  he_normal,
  orthogonal
};

/// How a parameter starts. Values are a pure function of (seed, parameter name, element index), so
/// adding a layer leaves the others' start unchanged. source  Glorot & Bengio 2010 (uniform limit
/// sqrt(6 / (fan_in + fan_out)), normal std sqrt(2 / (fan_in + fan_out)));
///         He et al. 2015 (uniform limit sqrt(6 / fan_in), normal std sqrt(2 / fan_in));
///         orthogonal: nn/orthogonal.h, of the matrix [all sizes but the last, last]
struct Init {
  InitKind kind = InitKind::zeros;
  double fan_in = 1;
  double fan_out = 1;
  double stddev = 0.05;  // normal only
  double scale = 1;      // multiplies what is drawn
  /// Elements [ones_from, ones_to) start at 1 whatever the kind: the forget gate's bias.
  std::int64_t ones_from = 0, ones_to = 0;
};

/// trainable: changed by the optimiser. statistic: a running statistic of the data
/// (batch_norm_1.running_mean); its "gradient" carries sums over the batch, see RunningStatistics.
enum class ParamKind : std::uint8_t { trainable, statistic };

struct ParamSpec {
  std::string name;  // "dense_1.weight"
  tensor::Shape shape;
  Init init;
  ParamKind kind = ParamKind::trainable;
};

/// Fills the whole flat buffer, the gaps between parameters with zeros. Every layout entry must
/// have a spec of the same shape. A uniform value is (2 u - 1) * limit with u = rng::uniform({seed,
/// op_id(name)}, element index); a normal one rng::normal of the same key times the standard
/// deviation.
void initialize(const tensor::FlatLayout& layout, const std::vector<ParamSpec>& specs,
                std::uint64_t seed, float* flat);

[[nodiscard]] std::vector<std::string> init_names();

/// Reads an option such as `kernel_init: he_normal` or `kernel_init: {name: normal, stddev: 0.02}`.
/// The fans are left for the layer to set.
[[nodiscard]] Init read_init(config::MapReader& options, const std::string& key,
                             const Init& fallback);
[[nodiscard]] Init read_init(config::MapReader& options, const std::string& key, InitKind fallback);

}  // namespace dlt::nn
