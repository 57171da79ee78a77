// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"
#include "tensor/flat_layout.h"

namespace dlt::optim {

/// What a group changes for its parameters.
struct GroupSettings {
  double learning_rate_factor = 1;
  std::optional<double> weight_decay = {};  // instead of the optimiser's own
  double l1 = 0, l2 = 0;                    // as Keras's l1 and l2: penalties l1·Σ|p| + l2·Σp²
  bool adapt = true;                        // lars, lamb: scale the step by the norms
  bool freeze = false;
  friend bool operator==(const GroupSettings&, const GroupSettings&) = default;
};

/// One item of `optimizer.groups`: the parameters whose names match any of its patterns and none of
/// an earlier group.
struct ParamGroup {
  struct Pattern {
    std::string text;  // '*' is any text, '?' any one character
    config::Mark mark;
  };
  std::vector<Pattern> patterns;
  std::string key;  // "optimizer.groups.0.match", for messages
  GroupSettings settings;
};

[[nodiscard]] bool matches(std::string_view pattern, std::string_view name);

/// Reads the key `groups` of `optimizer:`. adapts: the key adapt is legal.
[[nodiscard]] std::vector<ParamGroup> read_groups(config::MapReader& optimizer, bool adapts);

/// Reads the key `freeze` of `train:`, patterns of parameters that stay as they are, as a group to
/// stand before the optimiser's own; none if it is not there.
[[nodiscard]] std::optional<ParamGroup> read_freeze(config::MapReader& train);

/// Whether the first group that matches freezes the parameter.
[[nodiscard]] bool is_frozen(const std::vector<ParamGroup>& groups, const std::string& param);

/// Records a pattern that matches no parameter, or only parameters of earlier groups.
void check_groups(const std::vector<ParamGroup>& groups, const std::vector<std::string>& params,
                  config::Diagnostics& diagnostics);

/// A range of the flat buffers that one call updates.
struct UpdateRange {
  std::int64_t begin = 0, end = 0;  // elements, multiples of 16
  GroupSettings settings;
};

/// Which ranges are updated and how: by the first group that matches, neighbours of equal settings
/// in one range. Frozen parameters and those of excluded names are in no range.
struct UpdatePlan {
  std::vector<UpdateRange> ranges;  // ascending
  /// The parameters in them, in the layout's order.
  struct Part {
    std::int64_t begin = 0, end = 0;  // elements, without the gap
    std::size_t range = 0;
  };
  std::vector<Part> parts;
};
enum class Merge : std::uint8_t { neighbours, none };
[[nodiscard]] UpdatePlan plan_updates(const tensor::FlatLayout& layout,
                                      const std::vector<ParamGroup>& groups,
                                      const std::vector<std::string>& excluded, Merge merge);

}  // namespace dlt::optim
