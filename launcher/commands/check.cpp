// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include "launcher/commands.h"
#include "launcher/surroundings.h"
#include "train/estimate.h"

namespace dlt::launcher {
namespace {

class Check final : public Command {
 public:
  std::string name() const override { return "check"; }
  std::string summary() const override {
    return "Check a config and its data; print model and costs";
  }

  void declare(Options& options) override {
    options.positional("CFG", options_.config_path, "YAML file that describes the run");
    options.repeated("--set", options_.overrides, "Override a key: --set train.epochs=5");
    options.integer("--ranks", ranks_, {.min = 1, .max = 1 << 20},
                    "Ranks to plan for (default: those of this job, 1 without mpirun)");
  }

  Exit run(Context& context) override {
    const int started = context.ranks.world_size > 0 ? context.ranks.world_size : 1;
    options_.ranks = ranks_ > 0 ? static_cast<int>(ranks_) : started;
    RealSurroundings real;
    context.out << train::run_check(real.get(context.ranks), options_);
    return Exit::ok;
  }

 private:
  train::CheckOptions options_;
  std::int64_t ranks_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_check() { return std::make_unique<Check>(); }

}  // namespace dlt::launcher
