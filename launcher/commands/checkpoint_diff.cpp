// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <ostream>
#include <set>

#include "base/text.h"
#include "checkpoint/diff.h"
#include "checkpoint/store.h"
#include "config/node.h"
#include "launcher/commands.h"
#include "train/run_config.h"

namespace dlt::launcher {
namespace {

std::map<std::string, std::string> keys_of(const std::string& source, const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node tree = config::parse(source, yaml, diagnostics);
  diagnostics.throw_if_any();
  const train::FlatConfig flat = train::flatten_config(tree);
  return {flat.begin(), flat.end()};
}

class CheckpointDiff final : public Command {
 public:
  std::string name() const override { return "checkpoint diff"; }
  std::string summary() const override {
    return "How two checkpoints differ: tensors, step, config; exit 65 if they do";
  }
  void declare(Options& options) override {
    options.positional("A", first_, "A checkpoint's folder, or a run's: then its newest");
    options.positional("B", second_, "The same of the other");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    const checkpoint::Checkpoint a = checkpoint::load_any(first_);
    const checkpoint::Checkpoint b = checkpoint::load_any(second_);
    compare_positions(a, b);
    compare_configs(a, b);
    const bool same_settings = lines_.empty();
    const bool same_model = compare_tensors("model", a.model, b.model);
    const bool same_tensors = compare_tensors("optimizer", a.optimizer, b.optimizer) && same_model;
    for (const std::string& line : lines_) context.out << line << "\n";
    if (same_settings && same_tensors) {
      context.out << "equal: " << a.model.size() << " parameters and " << a.optimizer.size()
                  << " tensors of the optimiser, step " << a.step << "\n";
      return Exit::ok;
    }
    if (same_tensors) context.out << "all tensors are equal to the bit\n";
    return Exit::data;
  }

 private:
  template <typename Value>
  void note(const std::string& what, const Value& a, const Value& b) {
    lines_.push_back(cat(what, ": ", printable(cat(a), 80), " and ", printable(cat(b), 80)));
  }

  void compare_positions(const checkpoint::Checkpoint& a, const checkpoint::Checkpoint& b) {
    if (a.step != b.step) note("step", a.step, b.step);
    if (a.epoch != b.epoch) note("epoch", a.epoch, b.epoch);
    if (a.epoch_samples != b.epoch_samples) note("epoch_samples", a.epoch_samples, b.epoch_samples);
    if (a.leaves != b.leaves) note("leaves", a.leaves, b.leaves);
  }

  void compare_configs(const checkpoint::Checkpoint& a, const checkpoint::Checkpoint& b) {
    if (a.config_yaml == b.config_yaml) return;
    const auto first = keys_of(first_ + ": config", a.config_yaml);
    const auto second = keys_of(second_ + ": config", b.config_yaml);
    std::set<std::string> keys;
    for (const auto& [key, value] : first) keys.insert(key);
    for (const auto& [key, value] : second) keys.insert(key);
    const auto value_of = [](const auto& map, const std::string& key) {
      const auto found = map.find(key);
      return found == map.end() ? std::string("nothing") : found->second;
    };
    for (const std::string& key : keys) {
      const std::string was = value_of(first, key), is = value_of(second, key);
      if (was != is) note("config: " + key, was, is);
    }
  }

  /// Whether there is no difference.
  bool compare_tensors(const std::string& what, const tensor::StateDict& a,
                       const tensor::StateDict& b) {
    const auto found = checkpoint::differences(a, b);
    for (const auto& one : found) lines_.push_back(cat(what, ": ", checkpoint::describe(one)));
    return found.empty();
  }

  std::string first_, second_;
  std::vector<std::string> lines_;
};

}  // namespace

std::unique_ptr<Command> make_checkpoint_diff() { return std::make_unique<CheckpointDiff>(); }

}  // namespace dlt::launcher
