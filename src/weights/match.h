// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.h"
#include "weights/weights_file.h"

namespace dlt::weights {

/// How the file lays out the weights of products: as dltrain and Keras do (dense [in, out], conv2d
/// [height, width, in, out]) or as PyTorch does (linear [out, in], conv2d [out, in, height,
/// width]).
enum class Layout : std::uint8_t { dltrain, pytorch };

struct MatchOptions {
  /// "old=new": in a name of the file, the first place where the parts `old` stand (whole words
  /// between dots) becomes `new`. All are applied, in order. "encoder=" takes the word away.
  std::vector<std::pair<std::string, std::string>> rename;
  Layout layout = Layout::dltrain;
};

/// A parameter of the model.
struct Wanted {
  std::string name;
  tensor::Shape shape;
  bool is_table = false;  // rows by number, as an embedding's: never transposed
};

/// What came of it, by the model's names; those of the file where the model has none.
struct Match {
  tensor::StateDict tensors;         // those that fit, f32 in the model's layout
  std::vector<std::string> missing;  // not in the file
  std::vector<std::string> differ;   // "dense_3.weight: expected [64, 10], got f32[64, 2]"
  std::vector<std::string> unused;   // in the file, not in the model
};

/// The name of a tensor of the file after all renaming.
[[nodiscard]] std::string renamed(const std::string& name, const MatchOptions& options);

/// Loads what has the name and shape of a wanted parameter; f16, bf16 and f64 are rounded to f32.
/// errors  Error(Exit::data) a tensor is damaged, or two of them get one name by renaming
[[nodiscard]] Match match_by_name(const WeightsFile& file, const std::vector<Wanted>& wanted,
                                  const MatchOptions& options);

}  // namespace dlt::weights
