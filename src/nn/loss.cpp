// SPDX-License-Identifier: Apache-2.0
#include "nn/loss.h"

#include "base/text.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

const LossDef* find_loss(std::string_view name) {
  for (const LossDef& def : loss_defs()) {
    if (def.name == name) return &def;
  }
  return nullptr;
}

std::string loss_hint(const std::string& word) {
  const std::string near = nearest(word, loss_names());
  const std::string legal = cat("legal: ", join(loss_names()));
  return near.empty() ? legal : cat("did you mean '", near, "'?  ", legal);
}

std::unique_ptr<Loss> make(const std::string& name, config::MapReader& options) {
  std::unique_ptr<Loss> loss;
  if (const LossDef* def = find_loss(name)) {
    loss = def->make(options);
    options.finish();
  }
  return loss;
}

/// {name: huber, delta: 1.0} or {huber: {delta: 1.0}}
std::unique_ptr<Loss> read_map(const config::Node& node, config::Diagnostics& diagnostics) {
  if (node.find("name") != nullptr || node.entries.empty()) {
    config::MapReader reader(&node, "loss", node.mark, diagnostics);
    return make(reader.choice("name", loss_names()), reader);
  }
  if (node.entries.size() > 1) {
    diagnostics.error(node.mark, "loss",
                      cat("expected one loss with its options, got a map of ", node.entries.size(),
                          " keys without 'name'"),
                      "write {name: huber, delta: 1.0} or {huber: {delta: 1.0}}");
    return nullptr;
  }
  const auto& [key, key_mark, value] = node.entries.front();
  if (find_loss(key) == nullptr) {
    diagnostics.error(key_mark, "loss", cat("expected a loss, got '", printable(key), "'"),
                      loss_hint(key));
    return nullptr;
  }
  const config::Node* options = value.kind == config::Kind::null ? nullptr : &value;
  config::MapReader reader(options, cat("loss.", key), key_mark, diagnostics);
  return make(key, reader);
}

}  // namespace

TargetSpec Loss::target(const tensor::Shape& prediction) const { return {.shape = prediction}; }

const std::vector<LossDef>& loss_defs() {
  static const std::vector<LossDef> defs{
#define DLT_LOSS(name) LossDef{#name, make_##name},
#include "nn/losses.def"
#undef DLT_LOSS
  };
  return defs;
}

std::vector<std::string> loss_names() {
  std::vector<std::string> names;
  for (const LossDef& def : loss_defs()) names.emplace_back(def.name);
  return names;
}

std::unique_ptr<Loss> read_loss(const config::Node* node, const config::Mark& parent,
                                config::Diagnostics& diagnostics) {
  if (node == nullptr) {
    diagnostics.error(parent, "loss", "expected a loss, the key is missing",
                      cat("legal: ", join(loss_names())));
    return nullptr;
  }
  const std::size_t mistakes = diagnostics.size();
  std::unique_ptr<Loss> loss;
  if (node->kind == config::Kind::map) {
    loss = read_map(*node, diagnostics);
  } else if (node->kind == config::Kind::scalar && find_loss(node->scalar) != nullptr) {
    config::MapReader reader(nullptr, cat("loss.", node->scalar), node->mark, diagnostics);
    loss = make(node->scalar, reader);
  } else {
    const bool word = node->kind == config::Kind::scalar;
    const std::string got = word ? cat("'", printable(node->scalar), "'")
                            : node->kind == config::Kind::sequence ? "a list"
                                                                   : "nothing";
    diagnostics.error(node->mark, "loss", cat("expected a loss, got ", got),
                      loss_hint(node->scalar));
  }
  return diagnostics.size() == mistakes ? std::move(loss) : nullptr;
}

}  // namespace dlt::nn
