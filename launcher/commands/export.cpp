// SPDX-License-Identifier: Apache-2.0
#include "onnx/export.h"

#include <ostream>

#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/store.h"
#include "config/node.h"
#include "launcher/commands.h"
#include "launcher/version.h"
#include "nn/model.h"
#include "ops/ops.h"
#include "weights/write.h"

namespace dlt::launcher {
namespace {

/// The average of that name among the optimiser's tensors, under the parameters' names.
tensor::StateDict average_of(const checkpoint::Checkpoint& checkpoint, const std::string& name) {
  tensor::StateDict out;
  const std::string prefix = name + ".";
  for (const auto& [key, tensor] : checkpoint.optimizer) {
    if (key.starts_with(prefix)) out.emplace(key.substr(prefix.size()), tensor);
  }
  if (out.empty()) {
    throw Error(
        Exit::data,
        cat("optimizer.safetensors: expected the average '", name, "' of the weights, got none"),
        "leave --average away to export the weights themselves");
  }
  return out;
}

/// The model that the checkpoint's own configuration describes.
std::unique_ptr<nn::Model> model_of(const checkpoint::Checkpoint& checkpoint,
                                    const std::string& source, const autodiff::OpTable& table) {
  config::Diagnostics diagnostics;
  const config::Node tree = config::parse(source, checkpoint.config_yaml, diagnostics);
  std::unique_ptr<nn::Model> model;
  if (diagnostics.ok()) model = nn::Model::read(tree.find("model"), tree.mark, diagnostics, table);
  diagnostics.throw_if_any();
  return model;
}

class Export final : public Command {
 public:
  std::string name() const override { return "export"; }
  std::string summary() const override { return "A checkpoint's model as a file of other tools"; }

  void declare(Options& options) override {
    options.positional("CHECKPOINT", checkpoint_,
                       "A checkpoint's folder, or a run's: then its newest");
    options.choice("--format", format_, {"hdf5", "npz", "onnx", "safetensors"},
                   "safetensors, hdf5, npz, or onnx, which has the network, too");
    options.required("--output", output_, "File to write");
    options.choice("--average", average_, {"ema", "swa"},
                   "ema or swa: that average of the weights (default: the weights)");
    options.flag("--optimizer", optimizer_,
                 "The optimiser's state as well, under optimizer. (not in onnx)");
    options.flag("--force", force_, "Replace the file if it is there");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    check();
    const checkpoint::Checkpoint checkpoint = checkpoint::load_any(checkpoint_);
    tensor::StateDict tensors =
        average_.empty() ? checkpoint.model : average_of(checkpoint, average_);
    const std::string hash = checkpoint::weights_hash(tensors);
    const weights::Metadata metadata{{"step", cat(checkpoint.step)},
                                     {"weights_hash", hash},
                                     {"weights", average_.empty() ? "model" : average_},
                                     {"config_fingerprint", checkpoint.config_fingerprint}};
    const std::size_t num_params = tensors.size();
    if (optimizer_) {
      for (const auto& [name, tensor] : checkpoint.optimizer) {
        tensors.emplace("optimizer." + name, tensor);
      }
    }
    write(checkpoint, tensors, metadata);
    context.out << output_ << ": "
                << counted(static_cast<long long>(num_params), "parameter", "parameters")
                << " of step " << checkpoint.step;
    if (optimizer_)
      context.out << ", " << tensors.size() - num_params << " tensors of the optimiser";
    context.out << "\n  weights     " << hash << "\n";
    return Exit::ok;
  }

 private:
  void check() const {
    if (format_.empty()) {
      throw Error(Exit::usage,
                  "export: expected --format safetensors, hdf5, npz or onnx, got nothing");
    }
    if (optimizer_ && format_ == "onnx") {
      throw Error(Exit::usage, "export: --optimizer: an onnx file holds no optimiser state",
                  "--format safetensors does");
    }
    if (exists(output_) && !force_) {
      throw Error(
          Exit::usage,
          cat(printable(output_, 200), ": expected a name that is free, got a file that is there"),
          "--force replaces it");
    }
  }

  void write(const checkpoint::Checkpoint& checkpoint, const tensor::StateDict& tensors,
             const weights::Metadata& metadata) const {
    SystemFs fs;
    if (format_ == "safetensors") return weights::write_safetensors(fs, output_, tensors, metadata);
    if (format_ == "npz") return weights::write_npz(fs, output_, tensors, metadata);
    if (format_ == "hdf5") return weights::write_hdf5(output_, tensors, metadata);
    const autodiff::OpTable table = ops::make_op_table();
    const auto model = model_of(checkpoint, cat(checkpoint_, ": config"), table);
    autodiff::Graph two(table), three(table);
    (void)model->build_prediction(two, 2);
    (void)model->build_prediction(three, 3);
    const std::string bytes = onnx::export_model({two, three}, tensors,
                                                 {.name = "dltrain",
                                                  .producer_version = program_version(),
                                                  .metadata = {metadata.begin(), metadata.end()}});
    const auto piece = std::as_bytes(std::span(bytes));
    write_atomically(fs, output_, {&piece, 1});
  }

  std::string checkpoint_, format_, output_, average_;
  bool optimizer_ = false, force_ = false;
};

}  // namespace

std::unique_ptr<Command> make_export() { return std::make_unique<Export>(); }

}  // namespace dlt::launcher
