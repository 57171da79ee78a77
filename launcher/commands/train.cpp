// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include <unistd.h>

#include "base/text.h"
#include "launcher/commands.h"
#include "launcher/connect.h"
#include "launcher/signals.h"
#include "launcher/stacks.h"
#include "launcher/surroundings.h"
#include "observe/progress.h"
#include "train/session.h"

namespace dlt::launcher {
namespace {

class Train final : public Command {
 public:
  std::string name() const override { return "train"; }
  std::string summary() const override {
    return "Train, or go on with a run; the word may be left out";
  }

  void declare(Options& options) override {
    options.positional("CFG", options_.config_path, "YAML file that describes the run");
    options.repeated("--set", options_.overrides, "Override a key: --set train.epochs=5");
    options.text(
        "--resume", resume_,
        "auto (default): go on if run.dir holds checkpoints; never: start anew; or the path "
        "of a checkpoint or run to start from");
    options.text("--init-from", init_from_,
                 "Begin with the weights of a checkpoint, run, .safetensors, .npz or .h5 file, by "
                 "name (train.init.from)");
    options.repeated("--init-map", init_map_,
                     "OLD=NEW: what a name of that file is called here; may be repeated "
                     "(train.init.rename)");
    options.flag("--init-partial", init_partial_,
                 "Parameters that the file lacks, or has in another shape, start anew "
                 "(train.init.partial)");
    options.flag("--overwrite", options_.resume.overwrite,
                 "Start anew and remove what run.dir holds of an earlier run");
  }

  Exit run(Context& context) override {
    if (resume_ == "never") {
      options_.resume.mode = train::ResumeMode::never;
    } else if (resume_ != "auto") {
      options_.resume.mode = train::ResumeMode::path;
      options_.resume.path = resume_;
    }
    options_.progress = context.quiet                   ? observe::ProgressStyle::quiet
                        : observe::stderr_is_terminal() ? observe::ProgressStyle::terminal
                                                        : observe::ProgressStyle::plain;
    override_init();
    RealSurroundings real;
    train::TrainJob job(real.get(context.ranks, context.dlrun.pulse()), options_);
    context.dlrun.configured(job.config().fault, job.config().train_data->file);
    write_stacks_on_signal(train::stack_file(job.config().dir, context.ranks.rank),
                           cat("stacks of rank ", context.ranks.rank, " (", context.ranks.host,
                               "), process ", ::getpid()));
    if (job.finished()) {
      context.out << job.finished_text();
      return Exit::ok;
    }
    // Not before: a rank that waits for mpirun to end it must not outlive the SIGTERM.
    const std::atomic<bool>& stop = watch_stop_signals();
    return run_on_ranks(context, job.config().comm_backend, [&](comm::Communicator& comm) {
      const train::RunSummary summary = job.run(comm, stop);
      context.out << train::summary_text(summary);
      return summary.exit;
    });
  }

 private:
  /// The options are the keys, so that a run's config tells where it came from.
  void override_init() {
    const auto quoted = [](const std::string& text) {
      std::string out = "'";
      for (const char c : text) out += c == '\'' ? "''" : std::string(1, c);
      return out + "'";
    };
    if (!init_from_.empty()) {
      options_.overrides.push_back("train.init.from=" + quoted(init_from_));
    }
    if (!init_map_.empty()) {
      std::vector<std::string> words;
      for (const std::string& word : init_map_) words.push_back(quoted(word));
      options_.overrides.push_back(cat("train.init.rename=[", join(words), "]"));
    }
    if (init_partial_) options_.overrides.emplace_back("train.init.partial=true");
  }

  train::TrainOptions options_;
  std::string resume_ = "auto", init_from_;
  std::vector<std::string> init_map_;
  bool init_partial_ = false;
};

}  // namespace

std::unique_ptr<Command> make_train() { return std::make_unique<Train>(); }

}  // namespace dlt::launcher
