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

}  // namespace

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
