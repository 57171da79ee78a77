// SPDX-License-Identifier: Apache-2.0
#include "train/replay.h"

#include <cstdint>
#include <ostream>

#include "launcher/commands.h"
#include "launcher/surroundings.h"

namespace dlt::launcher {
namespace {

class Replay final : public Command {
 public:
  std::string name() const override { return "replay"; }
  std::string summary() const override {
    return "Make a step of a run again in one process, with the run's bits";
  }
  void declare(Options& options) override {
    options.positional("RUN", options_.run, "Folder of the run");
    options.integer("--step", options_.step, {.min = 1, .max = INT64_MAX},
                    "The step, as messages and events count: from 1 (1)");
    options.flag("--until-nan", options_.until_nan,
                 "Go on to the first number that is not finite; say which layer made it");
    options.text("--dump", options_.dump,
                 "safetensors file for the step's parameters, gradients and losses");
    options.integer("--leaf", leaf_, {.min = 0, .max = 1 << 20},
                    "Put what this leaf's kernels made into the dump, too");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    options_.leaf = static_cast<int>(leaf_);
    RealSurroundings real;
    train::ReplayJob job(real.get(context.ranks), options_);
    const train::ReplayResult result = job.run();
    context.out << result.text;
    return result.equal ? Exit::ok : Exit::data;
  }

 private:
  train::ReplayOptions options_;
  std::int64_t leaf_ = -1;
};

}  // namespace

std::unique_ptr<Command> make_replay() { return std::make_unique<Replay>(); }

}  // namespace dlt::launcher
