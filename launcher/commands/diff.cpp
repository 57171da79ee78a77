// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include "base/text.h"
#include "launcher/commands.h"
#include "train/hash_log.h"

namespace dlt::launcher {
namespace {

class Diff final : public Command {
 public:
  std::string name() const override { return "diff"; }
  std::string summary() const override {
    return "The first step and stage at which two runs part (log.hashes); exit 65 if they do";
  }
  void declare(Options& options) override {
    options.positional("RUN_A", run_a_, "Folder of a run, or its hashes.jsonl");
    options.positional("RUN_B", run_b_, "The same of another");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    const train::HashLog a = train::read_hash_log(run_a_), b = train::read_hash_log(run_b_);
    const train::RunDifference found = train::compare(a, b);
    std::ostream& out = context.out;
    if (found.step >= 0) {
      out << "they part at step " << found.step << ": " << found.stage << "\n";
    } else {
      out << "equal in " << counted(found.compared, "step", "steps") << ", " << found.first
          << " to " << found.last << "\n";
    }
    if (found.only_a > 0) {
      out << printable(run_a_, 200) << " has " << counted(found.only_a, "step", "steps")
          << " more\n";
    }
    if (found.only_b > 0) {
      out << printable(run_b_, 200) << " has " << counted(found.only_b, "step", "steps")
          << " more\n";
    }
    return found.step >= 0 ? Exit::data : Exit::ok;
  }

 private:
  std::string run_a_, run_b_;
};

}  // namespace

std::unique_ptr<Command> make_diff() { return std::make_unique<Diff>(); }

}  // namespace dlt::launcher
