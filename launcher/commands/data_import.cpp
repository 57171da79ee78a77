// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include "base/text.h"
#include "import/import.h"
#include "launcher/commands.h"
#include "launcher/import_report.h"

namespace dlt::launcher {
namespace {

/// Options that all importers share.
struct Common {
  double test_fraction = 0;
  std::int64_t seed = 0;
  std::int64_t deflate = 0;

  void declare(Options& options, std::string& output) {
    options.required("--output", output, "HDF5 file to write");
    options.number("--test-fraction", test_fraction,
                   "Share of the rows to split off as /test (0: none)");
    options.integer("--split-seed", seed, {.min = 0, .max = INT64_MAX},
                    "Which rows are split off (0)");
    options.integer("--deflate", deflate, {.min = 0, .max = 9}, "Compression level (0: none)");
  }
  template <typename ImportOptions>
  void fill(ImportOptions& options) const {
    options.split = {.test_fraction = test_fraction, .seed = static_cast<std::uint64_t>(seed)};
    options.deflate_level = static_cast<int>(deflate);
  }
};

class ImportIdx final : public Command {
 public:
  std::string name() const override { return "data import idx"; }
  std::string summary() const override { return "MNIST's format, plain or gzipped, to HDF5"; }

  void declare(Options& options) override {
    options.required("--train-images", options_.train_images, "IDX file, plain or .gz");
    options.required("--train-labels", options_.train_labels, "IDX file, plain or .gz");
    options.text("--test-images", options_.test_images, "IDX file, plain or .gz");
    options.text("--test-labels", options_.test_labels, "IDX file, plain or .gz");
    common_.declare(options, options_.output);
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    common_.fill(options_);
    context.out << import_report_text(import_::import_idx(options_));
    return Exit::ok;
  }

 private:
  import_::IdxOptions options_;
  Common common_;
};

class ImportCsv final : public Command {
 public:
  std::string name() const override { return "data import csv"; }
  std::string summary() const override { return "A table of numbers to HDF5"; }

  void declare(Options& options) override {
    options.positional("FILE", options_.input, "CSV file");
    options.repeated("--target", options_.targets,
                     "Column to predict, by name or number from 1; may be repeated");
    options.flag("--labels", options_.target_labels, "The target is a class, not a number");
    options.repeated("--ignore", options_.ignore, "Column to leave out; may be repeated");
    options.repeated("--one-hot", options_.one_hot,
                     "Column of words to make one 0/1 column a word of; may be repeated");
    options.repeated("--codes", options_.codes,
                     "Column of words to make numbers, in the words' order; may be repeated");
    options.text("--delimiter", delimiter_, "One character, or tab (default: comma)");
    options.choice("--header", header_, {"auto", "yes", "no"}, "auto (default), yes or no");
    options.choice("--missing", missing_, {"drop", "error", "mean", "median"},
                   "Empty fields: error (default), drop the row, mean or median of the column");
    options.flag("--standardize", options_.standardize,
                 "Number columns of x to mean 0, deviation 1");
    options.flag("--standardize-target", options_.standardize_targets,
                 "The target, where it is a number, too");
    common_.declare(options, options_.output);
  }

  Exit run(Context& context) override {
    using Csv = import_::CsvOptions;
    if (!context.ranks.root()) return Exit::ok;
    if (delimiter_ == "tab" || delimiter_ == "\\t") delimiter_ = "\t";
    if (delimiter_.size() != 1) {
      throw Error(Exit::usage, cat("--delimiter: expected one character or the word tab, got '",
                                   printable(delimiter_), "'"));
    }
    options_.delimiter = delimiter_.front();
    options_.header = header_ == "yes"  ? Csv::Header::yes
                      : header_ == "no" ? Csv::Header::no
                                        : Csv::Header::automatic;
    options_.missing = missing_ == "drop"     ? Csv::Missing::drop
                       : missing_ == "mean"   ? Csv::Missing::mean
                       : missing_ == "median" ? Csv::Missing::median
                                              : Csv::Missing::error;
    common_.fill(options_);
    context.out << import_report_text(import_::import_csv(options_));
    return Exit::ok;
  }

 private:
  import_::CsvOptions options_;
  Common common_;
  std::string delimiter_ = ",", header_ = "auto", missing_ = "error";
};

class ImportNpy final : public Command {
 public:
  std::string name() const override { return "data import npy"; }
  std::string summary() const override { return "NumPy arrays to HDF5"; }

  void declare(Options& options) override {
    options.required("--inputs", options_.inputs, ".npy file of /train/x");
    options.text("--targets", options_.targets, ".npy file of /train/y");
    options.text("--test-inputs", options_.test_inputs, ".npy file of /test/x");
    options.text("--test-targets", options_.test_targets, ".npy file of /test/y");
    common_.declare(options, options_.output);
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    common_.fill(options_);
    context.out << import_report_text(import_::import_npy(options_));
    return Exit::ok;
  }

 private:
  import_::NpyOptions options_;
  Common common_;
};

}  // namespace

std::unique_ptr<Command> make_data_import_csv() { return std::make_unique<ImportCsv>(); }
std::unique_ptr<Command> make_data_import_idx() { return std::make_unique<ImportIdx>(); }
std::unique_ptr<Command> make_data_import_npy() { return std::make_unique<ImportNpy>(); }

}  // namespace dlt::launcher
