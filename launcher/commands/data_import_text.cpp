// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include "import/import.h"
#include "launcher/commands.h"
#include "launcher/import_report.h"

namespace dlt::launcher {
namespace {

class ImportText final : public Command {
 public:
  std::string name() const override { return "data import text"; }
  std::string summary() const override { return "Text to token ids, with their vocabulary"; }

  void declare(Options& options) override {
    options.positionals("FILE", options_.inputs,
                        "Text files, plain or .gz: one text in this order");
    options.required("--output", options_.output, "HDF5 file to write");
    options.choice("--tokenizer", tokenizer_, {"char", "bpe"},
                   "char (default): a token a character; bpe: byte pairs, learnt here");
    options.integer("--vocab-size", options_.vocabulary_size, {.min = 256, .max = 1 << 24},
                    "Tokens that bpe learns, the 256 bytes among them (1024)");
    options.text("--vocab", options_.vocabulary,
                 "Use the vocabulary of this HDF5 file, or GPT-2's vocab.json, instead");
    options.text("--merges", options_.merges, "GPT-2's merges.txt (default: beside vocab.json)");
    options.number("--split", options_.split,
                   "Share of the text to train on; the rest is /val (0.9)");
    options.integer("--deflate", deflate_, {.min = 0, .max = 9}, "Compression level (0: none)");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    options_.tokenizer =
        tokenizer_ == "bpe" ? data::Tokenizer::Kind::byte_pairs : data::Tokenizer::Kind::characters;
    options_.deflate_level = static_cast<int>(deflate_);
    context.out << import_report_text(import_::import_text(options_));
    return Exit::ok;
  }

 private:
  import_::TextOptions options_;
  std::string tokenizer_ = "char";
  std::int64_t deflate_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_data_import_text() { return std::make_unique<ImportText>(); }

}  // namespace dlt::launcher
