// SPDX-License-Identifier: Apache-2.0
#include "train/bench.h"

#include <ostream>

#include "launcher/commands.h"
#include "launcher/connect.h"
#include "launcher/surroundings.h"

namespace dlt::launcher {
namespace {

class Bench final : public Command {
 public:
  std::string name() const override { return "bench"; }
  std::string summary() const override { return "Time training steps on random data, as JSON"; }

  void declare(Options& options) override {
    options.positional("CFG", options_.config_path, "YAML file that describes the run");
    options.repeated("--set", options_.overrides, "Override a key: --set train.threads=1");
    options.integer("--steps", options_.steps, {.min = 1, .max = 1000000000},
                    "Steps to time (default 100)");
    options.integer("--warmup", options_.warmup, {.min = 0, .max = 1000000000},
                    "Steps before that (default 10)");
  }

  Exit run(Context& context) override {
    RealSurroundings real;
    const train::Surroundings around = real.get(context.ranks);
    const train::RunConfig config = train::read_run_config(options_.config_path, options_.overrides,
                                                           around.table, around.backend);
    return run_on_ranks(context, config.comm_backend, [&](comm::Communicator& comm) {
      context.out << train::run_bench(around, config, options_, comm);
      return Exit::ok;
    });
  }

 private:
  train::BenchOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_bench() { return std::make_unique<Bench>(); }

}  // namespace dlt::launcher
