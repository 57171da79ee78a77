// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/node.h"
#include "nn/model.h"
#include "tensor/flat_layout.h"
#include "tensor/tensor.h"
#include "weights/match.h"

namespace dlt::train {

/// `train.init`: parameters that a run begins with, by name, out of a checkpoint or a file of
/// another tool.
struct InitialWeightsOptions {
  std::string from;  // the path
  weights::MatchOptions match;
  bool partial = false;  // parameters that the file lacks, or has in another shape, start anew
};

/// Reads the key `init` of `train:`; none if it is not there.
[[nodiscard]] std::optional<InitialWeightsOptions> read_initial_weights(config::MapReader& train);

/// What was loaded, read before ranks connect.
struct InitialWeights {
  weights::Match match;
  std::string hash;                // of the loaded tensors: all ranks must have read the same
  std::vector<std::string> lines;  // for people: what was loaded and what was not
};

/// errors  Error(Exit::missing) there is no such file; Error(Exit::data) it is damaged, none of its
///         names is a parameter's, or, without partial, a parameter is missing or of another shape
[[nodiscard]] InitialWeights load_initial_weights(const InitialWeightsOptions& options,
                                                  const nn::Model& model);

/// What the manifest of a run says of the weights that it began with (their hash), "" if nothing.
[[nodiscard]] std::string began_with(const std::string& manifest_path);

/// For a run that has begun already.
/// errors  as load_initial_weights(); Error(Exit::data) if the manifest tells of others
[[nodiscard]] InitialWeights load_initial_weights_again(const InitialWeightsOptions& options,
                                                        const nn::Model& model,
                                                        const std::string& manifest_path);

/// Puts what was loaded in place of what the flat buffer holds; other parameters stay.
void apply(const InitialWeights& weights, const tensor::FlatLayout& layout, float* flat);

}  // namespace dlt::train
