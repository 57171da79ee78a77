// SPDX-License-Identifier: Apache-2.0
// A model from its config: every mistake is recorded at its place.
#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "nn/model_impl.h"
#include "nn/zoo.h"

namespace dlt::nn {
namespace {

using config::Diagnostics;
using config::MapReader;
using config::Mark;
using config::Node;

constexpr std::int64_t kMaxInputElements = std::int64_t{1} << 31;
constexpr int kMaxInputRank = tensor::Shape::kMaxRank - 1;  // one more is the batch

tensor::Shape read_input(MapReader& model) {
  const std::size_t mistakes = model.diagnostics().size();
  const std::vector<std::int64_t> sizes =
      model.integers("input", {.min = 1, .max = kMaxInputElements});
  if (model.diagnostics().size() > mistakes) return {};
  if (sizes.empty() || sizes.size() > kMaxInputRank) {
    model.error("input", cat("expected 1 to ", kMaxInputRank, " sizes, got ", sizes.size()),
                "the sizes of one sample, channels last: [28, 28, 1]");
    return {};
  }
  std::int64_t numel = 1;
  for (const std::int64_t size : sizes) {
    if (numel <= kMaxInputElements) numel *= size;
  }
  if (numel > kMaxInputElements) {
    model.error("input", cat("expected at most ", kMaxInputElements, " elements, got more"));
    return {};
  }
  return tensor::Shape(std::span<const std::int64_t>(sizes));
}

std::string final_activation_of(const autodiff::Graph& graph, autodiff::ValueId prediction) {
  const std::int32_t producer = graph.value(prediction).producer;
  if (producer < 0) return "";
  const std::string op(graph.nodes()[static_cast<std::size_t>(producer)].op->name);
  const std::vector<std::string> names = activation_names();
  return std::find(names.begin(), names.end(), op) == names.end() ? "" : op;
}

bool trainable(const std::vector<ParamSpec>& params) {
  return std::any_of(params.begin(), params.end(),
                     [](const ParamSpec& spec) { return spec.kind == ParamKind::trainable; });
}

}  // namespace

bool Model::Impl::infer(const autodiff::OpTable& ops, Diagnostics& diagnostics) {
  autodiff::Graph graph(ops);
  Built built;
  try {
    built = forward(graph, 1, Mode::inference, record);
  } catch (const LayerError& error) {
    if (error.exit() != Exit::config) throw;
    diagnostics.error(error.mark(), error.key(), error.what(), error.hint());
    return false;
  }
  output = graph.shape(built.prediction).without_front();
  final_activation = final_activation_of(graph, built.prediction);
  return true;
}

std::unique_ptr<Model> Model::read(const Node* node, const Mark& parent, Diagnostics& diagnostics,
                                   const autodiff::OpTable& ops) {
  const std::size_t mistakes = diagnostics.size();
  std::unique_ptr<Model> model(new Model());
  Impl& impl = *model->impl_;
  if (node == nullptr) {
    diagnostics.error(parent, "model", "expected a map with input and layers, the key is missing");
    return nullptr;
  }
  MapReader reader(node, "model", parent, diagnostics);
  impl.input = read_input(reader);
  if (reader.has("name")) {
    impl.layers = read_zoo_layers(reader, impl.input);
    // Some models have a number of layers.
    const Node* layers = node->find("layers");
    if (layers != nullptr && layers->kind == config::Kind::sequence) {
      (void)reader.child("layers");
      reader.error("layers", "expected either model.name or model.layers, got both");
    }
  } else {
    impl.layers = LayerReader(diagnostics).read_list(reader, "layers");
  }
  const bool unknown_name = reader.has("name") && impl.layers.empty();
  if (!unknown_name) reader.finish();  // else its options are not known either
  if (diagnostics.size() > mistakes) return nullptr;
  if (!impl.infer(ops, diagnostics)) return nullptr;
  if (!trainable(impl.record.params)) {
    reader.error("layers", "expected at least one layer with parameters, got none",
                 "there is nothing to train; add {dense: {units: N}}");
    return nullptr;
  }
  return model;
}

}  // namespace dlt::nn
