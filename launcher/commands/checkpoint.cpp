// SPDX-License-Identifier: Apache-2.0
#include <iomanip>
#include <ostream>

#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/store.h"
#include "launcher/commands.h"

namespace dlt::launcher {
namespace {

/// errors  Exit::missing if there is no such path, or no checkpoint in it
std::vector<checkpoint::Summary> list_some(const std::string& path) {
  if (!exists(path)) {
    throw Error(Exit::missing, cat(printable(path, 200), ": no such file or folder"),
                "give the folder of a checkpoint or of a run");
  }
  std::vector<checkpoint::Summary> out = checkpoint::list(path);
  if (out.empty()) {
    throw Error(Exit::missing, cat(printable(path, 200), ": no checkpoint"),
                "give the folder of a checkpoint or of a run");
  }
  return out;
}

class List final : public Command {
 public:
  std::string name() const override { return "checkpoint list"; }
  std::string summary() const override {
    return "The checkpoints of a run, and whether they verify";
  }
  void declare(Options& options) override {
    options.positional("PATH", path_, "Folder of a run or of a checkpoint");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    const auto checkpoints = list_some(path_);
    context.out << std::right << std::setw(12) << "step" << std::setw(14) << "bytes"
                << "  weights hash\n";
    for (const checkpoint::Summary& one : checkpoints) {
      context.out << std::setw(12) << one.step << std::setw(14) << one.num_bytes << "  "
                  << (one.problem.empty() ? one.weights_hash : "damaged: " + one.problem)
                  << (one.best.empty() ? "" : "  best: " + one.best) << "\n";
    }
    return Exit::ok;
  }

 private:
  std::string path_;
};

class Verify final : public Command {
 public:
  std::string name() const override { return "checkpoint verify"; }
  std::string summary() const override {
    return "Check every byte of a checkpoint, or of all of a run";
  }
  void declare(Options& options) override {
    options.positional("PATH", path_, "Folder of a run or of a checkpoint");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    const auto checkpoints = list_some(path_);
    std::size_t num_damaged = 0;
    std::string first;
    for (const checkpoint::Summary& one : checkpoints) {
      context.out << one.path << ": "
                  << (one.problem.empty() ? "ok  " + one.weights_hash : "damaged: " + one.problem)
                  << "\n";
      if (!one.problem.empty() && num_damaged++ == 0) first = one.problem;
    }
    if (num_damaged == 0) return Exit::ok;
    context.out.flush();
    throw Error(Exit::data, checkpoints.size() == 1
                                ? first
                                : cat(printable(path_, 200), ": ", num_damaged, " of ",
                                      checkpoints.size(), " checkpoints are damaged: ", first));
  }

 private:
  std::string path_;
};

class Hash final : public Command {
 public:
  std::string name() const override { return "checkpoint hash"; }
  std::string summary() const override { return "The weights hash of a checkpoint"; }
  void declare(Options& options) override {
    options.positional("PATH", path_, "Folder of a checkpoint, or of a run: then its newest");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    context.out << checkpoint::weights_hash(checkpoint::load_any(path_).model) << "\n";
    return Exit::ok;
  }

 private:
  std::string path_;
};

}  // namespace

std::unique_ptr<Command> make_checkpoint_hash() { return std::make_unique<Hash>(); }
std::unique_ptr<Command> make_checkpoint_list() { return std::make_unique<List>(); }
std::unique_ptr<Command> make_checkpoint_verify() { return std::make_unique<Verify>(); }

}  // namespace dlt::launcher
