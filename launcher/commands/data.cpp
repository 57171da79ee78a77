// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include "base/text.h"
#include "data/info.h"
#include "import/import.h"
#include "launcher/commands.h"
#include "launcher/import_report.h"

namespace dlt::launcher {
namespace {

class DataInfo final : public Command {
 public:
  std::string name() const override { return "data info"; }
  std::string summary() const override { return "The data sets of an HDF5 file"; }
  void declare(Options& options) override {
    options.positional("FILE", file_, "HDF5 file to describe");
  }

  Exit run(Context& context) override {
    if (context.ranks.root()) context.out << data::to_text(data::describe(file_));
    return Exit::ok;
  }

 private:
  std::string file_;
};

class DataSynth final : public Command {
 public:
  std::string name() const override { return "data synth"; }
  std::string summary() const override { return cat("Make data: ", join(import_::synth_names())); }

  void declare(Options& options) override {
    options.positional("NAME", name_, join(import_::synth_names()));
    options.required("--output", options_.output, "HDF5 file to write");
    options.integer("--rows", options_.rows, {.min = 1, .max = kMaxRows}, "Training rows (100)");
    options.integer("--test-rows", options_.test_rows, {.min = 0, .max = kMaxRows},
                    "Test rows (20)");
    options.integer("--features", options_.features, {.min = 1, .max = 1 << 20},
                    "Numbers a row (10; spirals have 2)");
    options.integer("--classes", options_.classes, {.min = 1, .max = 1 << 20},
                    "Classes of blobs and spirals (3)");
    options.number("--noise", options_.noise, "Standard deviation (the kind's own)");
    options.integer("--seed", seed_, {.min = 0, .max = INT64_MAX}, "Other data of the kind (1)");
    options.integer("--deflate", deflate_, {.min = 0, .max = 9}, "Compression level (0: none)");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    options_.seed = static_cast<std::uint64_t>(seed_);
    options_.deflate_level = static_cast<int>(deflate_);
    context.out << import_report_text(import_::synthesise(name_, options_));
    return Exit::ok;
  }

 private:
  static constexpr std::int64_t kMaxRows = std::int64_t{1} << 40;
  import_::SynthOptions options_;
  std::string name_;
  std::int64_t seed_ = 1, deflate_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_data_info() { return std::make_unique<DataInfo>(); }
std::unique_ptr<Command> make_data_synth() { return std::make_unique<DataSynth>(); }

}  // namespace dlt::launcher
