// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include "import/import.h"
#include "launcher/commands.h"
#include "launcher/import_report.h"

namespace dlt::launcher {
namespace {

class ImportWav final : public Command {
 public:
  std::string name() const override { return "data import wav"; }
  std::string summary() const override { return "Recordings to log-mel features and labels"; }

  void declare(Options& options) override {
    options.positionals("FILE", options_.inputs, "WAV files, and folders of them");
    options.required("--output", options_.output, "HDF5 file to write");
    options.text("--pattern", options_.pattern,
                 "Fields of a file's name ({label}_{speaker}_{index}.wav)");
    options.text("--test", options_.test_rule,
                 "Recordings held out as /test: index<5, speaker=theo");
    options.integer("--frames", options_.frames, {.min = 0, .max = 1 << 24},
                    "Frames each is cut or padded to (0: of the longest)");
    options.integer("--mels", options_.num_mels, {.min = 1, .max = 4096}, "Bands (40)");
    options.integer("--sample-rate", options_.sample_rate, {.min = 0, .max = 768000},
                    "Of every file, in Hz (0: that of the first)");
    options.integer("--window", options_.window, {.min = 0, .max = 1 << 20},
                    "Samples of a frame (0: 25 ms)");
    options.integer("--hop", options_.hop, {.min = 0, .max = 1 << 20},
                    "Samples from frame to frame (0: 10 ms)");
    options.integer("--n-fft", options_.num_fft, {.min = 0, .max = 1 << 20},
                    "Size of the FFT, a power of two (0: the smallest for the window)");
    options.number("--min-hz", options_.min_hz, "Lowest frequency (20)");
    options.number("--max-hz", options_.max_hz, "Highest frequency (0: half the sample rate)");
    options.text("--like", options_.like,
                 "Use statistics, classes and frames of this file of an earlier import");
    options.number("--test-fraction", options_.split.test_fraction,
                   "Share of the recordings to split off as /test (0: none)");
    options.integer("--split-seed", seed_, {.min = 0, .max = INT64_MAX},
                    "Which recordings are split off (0)");
    options.integer("--deflate", deflate_, {.min = 0, .max = 9}, "Compression level (0: none)");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    options_.split.seed = static_cast<std::uint64_t>(seed_);
    options_.deflate_level = static_cast<int>(deflate_);
    context.out << import_report_text(import_::import_wav(options_));
    return Exit::ok;
  }

 private:
  import_::WavOptions options_;
  std::int64_t seed_ = 0, deflate_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_data_import_wav() { return std::make_unique<ImportWav>(); }

}  // namespace dlt::launcher
