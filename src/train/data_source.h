// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "config/node.h"
#include "data/augment.h"
#include "data/dataset.h"
#include "nn/loss.h"
#include "nn/model.h"

namespace dlt::train {

/// One `data.train` or `data.eval` block.
struct DataSource {
  std::string file, inputs, targets;
  double scale = 1.0;
  double offset = 0.0;
  data::Layout layout = data::Layout::nhwc;
  std::optional<data::Window> window;  // over one long array
  bool targets_are_next = false;       // windows without targets: what follows is predicted
};

/// What a block is read for.
struct SourceUse {
  const nn::Model* model = nullptr;  // null where the model has mistakes: less is checked
  bool training = true;              // windows begin at every row; else they do not overlap
};

[[nodiscard]] DataSource read_source(config::MapReader source, const SourceUse& use);

/// Reads data.augment: random_flip, random_crop, mixup, cutmix. Checks that they go with the
/// model's input and the loss (either may be null: less is checked).
[[nodiscard]] data::AugmentOptions read_augment(config::MapReader augment, const nn::Model* model,
                                                const nn::Loss* loss);

/// Options of the data set for a model, and a loss that wants these targets.
[[nodiscard]] data::DatasetOptions dataset_options(const DataSource& source, const nn::Model& model,
                                                   const nn::TargetSpec& target);

}  // namespace dlt::train
