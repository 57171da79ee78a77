// SPDX-License-Identifier: Apache-2.0
#include "train/data_check.h"

#include <ostream>

#include "base/text.h"
#include "launcher/commands.h"
#include "launcher/surroundings.h"

namespace dlt::launcher {
namespace {

class DataCheck final : public Command {
 public:
  std::string name() const override { return "data check"; }
  std::string summary() const override {
    return "Read every sample of a config's data; name those that are no good";
  }
  void declare(Options& options) override {
    options.positional("CFG", options_.config_path, "YAML file that describes the run");
    options.repeated("--set", options_.overrides, "Override a key: --set data.train.file=x.h5");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    RealSurroundings real;
    const train::DataCheckResult result = train::check_data(real.get(context.ranks), options_);
    context.out << result.text;
    if (result.num_bad == 0) return Exit::ok;
    context.out.flush();
    std::string text = join(result.first_bad, "\n  ");
    const auto named = static_cast<std::int64_t>(result.first_bad.size());
    if (result.num_bad > named) text += cat("\n  and ", result.num_bad - named, " more");
    throw Error(Exit::data, text, "mend the file, or set data.on_bad: skip");
  }

 private:
  train::DataCheckOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_data_check() { return std::make_unique<DataCheck>(); }

}  // namespace dlt::launcher
