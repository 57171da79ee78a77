// SPDX-License-Identifier: Apache-2.0
#include "train/initial_weights.h"

#include <algorithm>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"

namespace dlt::train {
namespace {

constexpr std::size_t kNamed = 12;  // names that a message lists

std::string some_of(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (const std::string& name : names) {
    if (out.size() == kNamed) return cat(join(out, "; "), "; ... (", names.size(), " in all)");
    out.push_back(printable(name, 120));
  }
  return join(out, "; ");
}

void read_rename(config::MapReader& init, weights::MatchOptions& out) {
  const config::Node* list = init.child("rename");
  if (list == nullptr) return;
  const char* hint = "as in rename: [\"encoder=block_0\", \"kernel=weight\"]";
  const bool single = list->kind == config::Kind::scalar;
  if (!single && list->kind != config::Kind::sequence) {
    init.error("rename", "expected a list of \"old=new\"", hint);
    return;
  }
  const std::vector<config::Node> one = single ? std::vector{*list} : list->items;
  for (const config::Node& item : one) {
    const std::size_t equals = item.scalar.find('=');
    if (item.kind != config::Kind::scalar || equals == 0 || equals == std::string::npos) {
      init.diagnostics().error(item.mark, init.path() + ".rename",
                               cat("expected \"old=new\", got '", printable(item.scalar), "'"),
                               hint);
      continue;
    }
    out.rename.emplace_back(item.scalar.substr(0, equals), item.scalar.substr(equals + 1));
  }
}

/// The layer that holds a parameter: the longest name of a layer that the parameter's begins with.
std::string layer_type(const nn::Model& model, const std::string& param) {
  const nn::LayerRow* found = nullptr;
  for (const nn::LayerRow& row : model.rows()) {
    const bool holds = param.starts_with(row.name + ".");
    if (holds && (found == nullptr || row.name.size() > found->name.size())) found = &row;
  }
  return found == nullptr ? "" : found->type;
}

std::vector<weights::Wanted> wanted_of(const nn::Model& model) {
  std::vector<weights::Wanted> out;
  for (const nn::ParamSpec& spec : model.params()) {
    out.push_back({.name = spec.name,
                   .shape = spec.shape,
                   .is_table = layer_type(model, spec.name).ends_with("embedding")});
  }
  return out;
}

void require_fit(const InitialWeightsOptions& options, const weights::Match& match,
                 std::size_t num_params) {
  const std::string path = printable(options.from, 200);
  if (match.tensors.empty()) {
    throw Error(Exit::data,
                cat(path, ": expected parameters of the model (", some_of(match.missing),
                    some_of(match.differ), "), got ",
                    match.unused.empty() ? "none" : some_of(match.unused)),
                "train.init.rename: [\"old=new\"] maps the names of the file to the model's");
  }
  if (options.partial || (match.missing.empty() && match.differ.empty())) return;
  std::string what;
  if (!match.differ.empty()) what += cat("; ", some_of(match.differ));
  if (!match.missing.empty()) what += cat("; not in the file: ", some_of(match.missing));
  throw Error(
      Exit::data,
      cat(path, ": expected all ", num_params, " parameters, got ", match.tensors.size(),
          " that fit", what),
      "train.init.partial: true starts the others anew; rename and layout: pytorch may help");
}

}  // namespace

std::optional<InitialWeightsOptions> read_initial_weights(config::MapReader& train) {
  if (!train.has("init")) {
    (void)train.child("init");  // legal, though absent
    return std::nullopt;
  }
  config::MapReader init = train.map("init");
  InitialWeightsOptions out;
  out.from = init.text("from");
  read_rename(init, out.match);
  const std::string layout = init.choice("layout", {"dltrain", "pytorch"}, std::string("dltrain"));
  out.match.layout = layout == "pytorch" ? weights::Layout::pytorch : weights::Layout::dltrain;
  out.partial = init.boolean("partial", false);
  init.finish();
  return out;
}

InitialWeights load_initial_weights(const InitialWeightsOptions& options, const nn::Model& model) {
  const auto file = weights::open_weights(options.from);
  const std::vector<weights::Wanted> wanted = wanted_of(model);
  InitialWeights out;
  out.match = weights::match_by_name(*file, wanted, options.match);
  require_fit(options, out.match, wanted.size());
  out.hash = checkpoint::weights_hash(out.match.tensors);
  out.lines.push_back(cat("init: ", out.match.tensors.size(), " of ",
                          counted(static_cast<long long>(wanted.size()), "parameter", "parameters"),
                          " from ", printable(options.from, 200)));
  const auto note = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) out.lines.push_back(cat("init: ", what, ": ", some_of(names)));
  };
  note("another shape, starts anew", out.match.differ);
  note("not in the file, starts anew", out.match.missing);
  note("in the file alone, not used", out.match.unused);
  return out;
}

std::string began_with(const std::string& manifest_path) {
  if (!exists(manifest_path)) return "";
  const std::string text = read_file(manifest_path), key = "\"init_weights_hash\": \"";
  const std::size_t at = text.find(key);
  return at == std::string::npos ? "" : text.substr(at + key.size(), 64);
}

InitialWeights load_initial_weights_again(const InitialWeightsOptions& options,
                                          const nn::Model& model,
                                          const std::string& manifest_path) {
  InitialWeights out = load_initial_weights(options, model);
  const std::string before = began_with(manifest_path);
  if (!before.empty() && before != out.hash) {
    throw Error(Exit::data, cat(printable(options.from, 200),
                                ": expected the weights that the run began with, got others"));
  }
  return out;
}

void apply(const InitialWeights& weights, const tensor::FlatLayout& layout, float* flat) {
  for (const auto& entry : layout.entries) {
    const auto found = weights.match.tensors.find(entry.name);
    if (found == weights.match.tensors.end()) continue;
    const auto numbers = found->second.as<float>();
    std::copy(numbers.begin(), numbers.end(), flat + entry.offset);
  }
}

}  // namespace dlt::train
