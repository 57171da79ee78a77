// SPDX-License-Identifier: Apache-2.0
#include "train/predict.h"

#include <ostream>

#include "launcher/commands.h"
#include "launcher/connect.h"
#include "launcher/surroundings.h"

namespace dlt::launcher {
namespace {

class Predict final : public Command {
 public:
  std::string name() const override { return "predict"; }
  std::string summary() const override { return "Outputs of a checkpoint's model, in input order"; }

  void declare(Options& options) override {
    options.positional("CFG", options_.config_path, "YAML file that describes the run");
    options.repeated("--set", options_.overrides, "Override a key: --set data.eval.scale=0.5");
    options.required("--checkpoint", options_.checkpoint,
                     "A checkpoint's folder, or a run's: then its newest");
    options.required("--input", options_.input, "HDF5 file with the inputs");
    options.text("--dataset", options_.dataset,
                 "Data set in it (default: the name in data.eval.inputs or data.train.inputs)");
    options.required("--output", options_.output, "HDF5 file to write, with data set /predictions");
  }

  Exit run(Context& context) override {
    RealSurroundings real;
    train::PredictJob job(real.get(context.ranks), options_);
    return run_on_ranks(context, "auto", [&](comm::Communicator& comm) {
      context.out << job.run(comm);
      return Exit::ok;
    });
  }

 private:
  train::PredictOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_predict() { return std::make_unique<Predict>(); }

}  // namespace dlt::launcher
