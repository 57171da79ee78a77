// SPDX-License-Identifier: Apache-2.0
#include "train/generate.h"

#include <ostream>

#include "base/text.h"
#include "launcher/commands.h"
#include "launcher/surroundings.h"

namespace dlt::launcher {
namespace {

class Generate final : public Command {
 public:
  std::string name() const override { return "generate"; }
  std::string summary() const override { return "Text from a checkpoint's language model"; }

  void declare(Options& options) override {
    options.positional("CFG", options_.config_path, "YAML file that describes the run");
    options.repeated("--set", options_.overrides, "Override a key: --set data.train.file=x.h5");
    options.required("--checkpoint", options_.checkpoint,
                     "A checkpoint's folder, or a run's: then its newest");
    options.required("--prompt", options_.prompt, "Text to go on from");
    options.text("--vocab", options_.vocabulary,
                 "HDF5 file that holds the vocabulary (default: data.train.file)");
    options.integer("--tokens", options_.tokens, {.min = 1, .max = std::int64_t{1} << 40},
                    "Tokens to write at most (500)");
    options.number("--temperature", options_.sampling.temperature,
                   "Below 1 likely tokens gain, above 1 they lose; 0: always the likeliest (1)");
    options.integer("--top-k", options_.sampling.top_k, {.min = 0, .max = 1 << 30},
                    "Draw from the K likeliest tokens only (0: all)");
    options.number("--top-p", options_.sampling.top_p,
                   "Draw from the likeliest tokens that reach this probability together (1)");
    options.integer("--seed", seed_, {.min = 0, .max = INT64_MAX}, "Another text each (0)");
    options.text("--stop", options_.stop, "End before this text");
  }

  Exit run(Context& context) override {
    const train::SamplingOptions& sampling = options_.sampling;
    if (!(sampling.temperature >= 0.0 && sampling.temperature <= 1e6)) {
      throw Error(Exit::usage, cat("--temperature: expected a number from 0 to 1000000, got ",
                                   sampling.temperature));
    }
    if (!(sampling.top_p > 0.0 && sampling.top_p <= 1.0)) {
      throw Error(Exit::usage,
                  cat("--top-p: expected a number above 0, at most 1, got ", sampling.top_p));
    }
    if (!context.ranks.root()) return Exit::ok;
    options_.sampling.seed = static_cast<std::uint64_t>(seed_);
    RealSurroundings real;
    train::GenerateJob job(real.get(context.ranks), options_);
    bool at_line_begin = true;
    job.run([&](const std::string& text) {
      context.out << text << std::flush;
      at_line_begin = text.ends_with('\n');
    });
    if (!at_line_begin) context.out << '\n';
    return Exit::ok;
  }

 private:
  train::GenerateOptions options_;
  std::int64_t seed_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_generate() { return std::make_unique<Generate>(); }

}  // namespace dlt::launcher
