// SPDX-License-Identifier: Apache-2.0
#include "train/data_source.h"

#include "base/error.h"
#include "base/text.h"

namespace dlt::train {
namespace {

constexpr std::int64_t kMaxWindow = std::int64_t{1} << 31;

data::Window read_window(config::MapReader window, const SourceUse& use) {
  const tensor::Shape input = use.model != nullptr ? use.model->input_shape() : tensor::Shape{};
  data::Window out;
  std::optional<std::int64_t> length;
  if (input.rank() > 0) length = input[0];
  out.length = window.integer("length", {.min = 1, .max = kMaxWindow}, length);
  if (length && out.length != *length) {
    window.error("length",
                 cat("expected ", *length, ", the length of the model's input ", input.text(),
                     ", got '", out.length, "'"),
                 "leave it out, or change model.input");
  }
  out.stride = window.integer("stride", {.min = 1, .max = kMaxWindow},
                              use.training ? std::int64_t{1} : out.length);
  window.finish();
  return out;
}

/// What does not go with the model's input, if `key` is given.
void check_image(config::MapReader& augment, const char* key, const nn::Model& model) {
  if (!augment.has(key) || (model.input_shape().rank() == 3 && model.num_tokens() == 0)) return;
  augment.error(key, cat("expected a model of images [height, width, channels], its input is ",
                         model.num_tokens() > 0 ? "tokens " : "", model.input_shape().text()));
}

void check_mixture(config::MapReader& augment, const char* key, const nn::Model& model,
                   const nn::Loss& loss) {
  if (!augment.has(key)) return;
  nn::TargetSpec target;
  try {
    target = loss.target(model.output_shape());
  } catch (const Error& error) {
    if (error.exit() != Exit::config) throw;
    return;  // a loss that does not fit the model is told elsewhere
  }
  if (model.num_tokens() > 0) {
    augment.error(key, "expected a model of numbers, the model takes tokens, which do not mix");
  } else if (target.labels() && !loss.takes_distributions()) {
    augment.error(key, cat("expected a loss that takes mixed labels, got '", loss.name(), "'"),
                  "of the losses of labels, cross_entropy does");
  } else if (target.labels() && target.shape.rank() > 0) {
    augment.error(key, cat("expected one label a sample, the loss wants ", target.shape.text()));
  }
}

double read_alpha(config::MapReader& augment, const char* key, double fallback) {
  if (!augment.has(key)) {
    (void)augment.child(key);  // legal, though absent
    return 0;
  }
  config::MapReader reader = augment.map(key);
  const double alpha = reader.number("alpha", {.min = 0, .max = 1e6, .min_open = true}, fallback);
  reader.finish();
  return alpha;
}

}  // namespace

data::AugmentOptions read_augment(config::MapReader augment, const nn::Model* model,
                                  const nn::Loss* loss) {
  data::AugmentOptions out;
  if (model != nullptr) {
    for (const char* key : {"random_flip", "random_crop", "cutmix"}) {
      check_image(augment, key, *model);
    }
    for (const char* key : {"mixup", "cutmix"}) {
      if (loss != nullptr) check_mixture(augment, key, *model, *loss);
    }
  }
  const std::string flip = augment.choice("random_flip", {"none", "horizontal", "vertical", "both"},
                                          std::string("none"));
  out.flip_horizontal = flip == "horizontal" || flip == "both";
  out.flip_vertical = flip == "vertical" || flip == "both";
  if (augment.has("random_crop")) {
    config::MapReader crop = augment.map("random_crop");
    out.crop_padding = crop.integer("padding", {.min = 1, .max = 4096});
    out.crop_fill = static_cast<float>(crop.number("fill", {.min = -1e30, .max = 1e30}, 0.0));
    crop.finish();
  } else {
    (void)augment.child("random_crop");
  }
  out.mixup_alpha = read_alpha(augment, "mixup", 0.2);
  out.cutmix_alpha = read_alpha(augment, "cutmix", 1.0);
  augment.finish();
  return out;
}

DataSource read_source(config::MapReader source, const SourceUse& use) {
  DataSource out;
  out.file = source.text("file");
  out.inputs = source.text("inputs");
  if (source.has("window")) {
    if (source.has("targets")) out.targets = source.text("targets");
    out.window = read_window(source.map("window"), use);
    out.targets_are_next = out.targets.empty();
  } else {
    out.targets = source.text("targets");
  }
  out.scale = source.number("scale", {}, 1.0);
  out.offset = source.number("offset", {}, 0.0);
  out.layout = source.choice("layout", {"nhwc", "nchw"}, std::string("nhwc")) == "nchw"
                   ? data::Layout::nchw
                   : data::Layout::nhwc;
  const bool tokens = use.model != nullptr && use.model->num_tokens() > 0;
  if (tokens && out.scale != 1.0) source.error("scale", "the model takes tokens, which stay whole");
  if (tokens && out.offset != 0.0) {
    source.error("offset", "the model takes tokens, which stay as they are");
  }
  if (out.layout == data::Layout::nchw && (tokens || out.window)) {
    source.error("layout", tokens ? "the model takes tokens, which have no channels"
                                  : "windows over one long array have no channels first");
  }
  source.finish();
  return out;
}

data::DatasetOptions dataset_options(const DataSource& source, const nn::Model& model,
                                     const nn::TargetSpec& target) {
  data::DatasetOptions options{.file = source.file,
                               .inputs = source.inputs,
                               .targets = source.targets,
                               .num_tokens = model.num_tokens(),
                               .scale = source.scale,
                               .offset = source.offset,
                               .layout = source.layout,
                               .window = source.window,
                               .targets_are_next = source.targets_are_next,
                               .input_shape = model.input_shape()};
  if (options.num_tokens > 0) options.input_kind = data::InputKind::tokens;
  if (source.targets.empty() && !source.targets_are_next) return options;
  options.target_kind = target.labels() ? data::TargetKind::labels : data::TargetKind::values;
  options.num_classes = target.num_classes;
  options.allows_ignored = target.allows_ignored;
  options.target_shape = target.shape;
  return options;
}

}  // namespace dlt::train
