// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include "launcher/commands.h"
#include "launcher/connect.h"
#include "launcher/surroundings.h"
#include "train/predict.h"

namespace dlt::launcher {
namespace {

class Eval final : public Command {
 public:
  std::string name() const override { return "eval"; }
  std::string summary() const override { return "Loss and metrics of a checkpoint, as JSON"; }

  void declare(Options& options) override {
    options.positional("CFG", options_.config_path, "YAML file that describes the run");
    options.repeated("--set", options_.overrides, "Override a key: --set data.eval.file=x.h5");
    options.required("--checkpoint", options_.checkpoint,
                     "A checkpoint's folder, or a run's: then its newest");
    options.choice("--split", options_.split, {"eval", "train"}, "eval (default) or train");
  }

  Exit run(Context& context) override {
    RealSurroundings real;
    train::EvaluateJob job(real.get(context.ranks), options_);
    return run_on_ranks(context, "auto", [&](comm::Communicator& comm) {
      context.out << job.run(comm);
      return Exit::ok;
    });
  }

 private:
  train::EvaluateOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_eval() { return std::make_unique<Eval>(); }

}  // namespace dlt::launcher
