// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <ostream>

#include "base/text.h"
#include "import/import.h"
#include "launcher/commands.h"
#include "launcher/import_report.h"

namespace dlt::launcher {
namespace {

constexpr std::int64_t kMaxSide = 1 << 14;

class ImportImages final : public Command {
 public:
  std::string name() const override { return "data import images"; }
  std::string summary() const override { return "Folders of PNG, JPEG, PPM, one a class, to HDF5"; }

  void declare(Options& options) override {
    options.positional("FOLDER", options_.folder, "Holds one folder a class, with images in it");
    options.text("--test", options_.test_folder, "The same of test images");
    options.required("--size", size_, "HEIGHTxWIDTH of all images, as 32x32");
    options.choice("--color", color_, {"grey", "rgb"}, "rgb (default) or grey");
    options.choice("--resize", resize_, {"area", "bilinear"},
                   "area (default): means of what a new pixel covers; or bilinear");
    options.choice("--fit", fit_, {"crop", "stretch"},
                   "stretch (default), or crop the middle to the wanted proportions");
    options.choice("--on-bad", on_bad_, {"error", "skip"},
                   "What a damaged image is: error (default), or passed over and named");
    options.required("--output", options_.output, "HDF5 file to write");
    options.number("--test-fraction", options_.split.test_fraction,
                   "Share of the images to split off as /test (0: none)");
    options.integer("--split-seed", seed_, {.min = 0, .max = INT64_MAX},
                    "Which images are split off (0)");
    options.integer("--deflate", deflate_, {.min = 0, .max = 9}, "Compression level (0: none)");
  }

  Exit run(Context& context) override {
    if (!context.ranks.root()) return Exit::ok;
    read_size();
    options_.grey = color_ == "grey";
    options_.bilinear = resize_ == "bilinear";
    options_.crop = fit_ == "crop";
    options_.skip_bad = on_bad_ == "skip";
    options_.split.seed = static_cast<std::uint64_t>(seed_);
    options_.deflate_level = static_cast<int>(deflate_);
    context.out << import_report_text(import_::import_images(options_));
    return Exit::ok;
  }

 private:
  void read_size() {
    const auto side = [&](const std::string& text) {
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      const bool good = error == std::errc() && end == text.data() + text.size();
      return good && value >= 1 && value <= kMaxSide ? value : 0;
    };
    const std::size_t x = size_.find('x');
    if (x != std::string::npos) {
      options_.height = side(size_.substr(0, x));
      options_.width = side(size_.substr(x + 1));
    }
    if (options_.height == 0 || options_.width == 0) {
      throw Error(Exit::usage, cat("--size: expected HEIGHTxWIDTH, each 1 to ", kMaxSide, ", got '",
                                   printable(size_), "'"));
    }
  }

  import_::ImagesOptions options_;
  std::string size_, color_, resize_, fit_, on_bad_;
  std::int64_t seed_ = 0, deflate_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_data_import_images() { return std::make_unique<ImportImages>(); }

}  // namespace dlt::launcher
