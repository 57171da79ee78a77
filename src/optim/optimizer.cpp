// SPDX-License-Identifier: Apache-2.0
#include "optim/optimizer.h"

#include "base/error.h"
#include "base/text.h"
#include "optim/registry.h"

namespace dlt::optim {
namespace {

/// A row of optimizers.def.
struct OptimizerDef {
  const char* name;
  std::unique_ptr<Optimizer> (*make)(config::MapReader& options, const tensor::Backend& backend);
};

const std::vector<OptimizerDef>& optimizer_defs() {
  static const std::vector<OptimizerDef> defs{
#define DLT_OPTIMIZER(name) OptimizerDef{#name, make_##name},
#include "optim/optimizers.def"
#undef DLT_OPTIMIZER
  };
  return defs;
}

const OptimizerDef* find_optimizer(std::string_view name) {
  for (const OptimizerDef& def : optimizer_defs()) {
    if (def.name == name) return &def;
  }
  return nullptr;
}

}  // namespace

void Optimizer::measure(const UpdateArgs& /*args*/, const std::vector<float*>& /*states*/,
                        double* /*sums*/) const {
  DLT_CHECK(false, "this optimiser measures nothing");
}

double Optimizer::trust_ratio(const UpdateArgs& /*args*/, const ParamNorms& /*norms*/) const {
  return 1.0;
}

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const OptimizerDef& def : optimizer_defs()) names.emplace_back(def.name);
  return names;
}

std::unique_ptr<Optimizer> make_optimizer(const config::Node* node,
                                          config::Diagnostics& diagnostics,
                                          const tensor::Backend& backend,
                                          const config::Mark& parent) {
  const std::size_t mistakes = diagnostics.size();
  std::unique_ptr<Optimizer> optimizer;
  const std::string legal = cat("legal: ", join(optimizer_names()));
  if (node == nullptr) {
    diagnostics.error(parent, "optimizer", "expected an optimizer, the key is missing", legal);
  } else if (node->kind == config::Kind::scalar) {
    if (const OptimizerDef* def = find_optimizer(node->scalar)) {
      config::MapReader reader(nullptr, "optimizer", node->mark, diagnostics);
      optimizer = def->make(reader, backend);
    } else {
      const std::string near = nearest(node->scalar, optimizer_names());
      diagnostics.error(node->mark, "optimizer",
                        cat("expected an optimizer, got '", printable(node->scalar), "'"),
                        near.empty() ? legal : cat("did you mean '", near, "'?  ", legal));
    }
  } else {
    config::MapReader reader(node, "optimizer", node->mark, diagnostics);
    const std::string name = reader.choice("name", optimizer_names());
    if (const OptimizerDef* def = find_optimizer(name)) {
      optimizer = def->make(reader, backend);
      optimizer->set_groups(read_groups(reader, optimizer->adapts()));
      reader.finish();
    }
  }
  return diagnostics.size() == mistakes ? std::move(optimizer) : nullptr;
}

}  // namespace dlt::optim
