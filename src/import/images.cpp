// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "data/text_list.h"
#include "data/writer.h"
#include "import/file_tree.h"
#include "import/image_file.h"
#include "import/import.h"
#include "import/parts.h"

namespace dlt::import_ {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kNamed = 20;  // files that a report lists

struct Source {
  std::string path;
  std::int32_t label = 0;
};

constexpr std::array<std::string_view, 6> kImageEndings{".jpeg", ".jpg", ".pgm",
                                                        ".png",  ".pnm", ".ppm"};

/// The folders right below, which are the classes.
std::vector<std::string> classes_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory()) out.push_back(it->path().filename().string());
    if (!it->is_directory() && ends_with_one_of(it->path().string(), kImageEndings)) {
      throw Error(Exit::data, cat(printable(it->path().string(), 200),
                                  ": expected it in a folder of its class, got it beside them"));
    }
  }
  if (error) cannot_list(folder, error);
  if (out.empty()) {
    throw Error(Exit::data, cat(printable(folder, 200),
                                ": expected one folder a class, as in cats/1.jpg, got none"));
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Source> sources_in(const std::string& folder, const std::vector<std::string>& classes) {
  std::vector<Source> out;
  for (const std::string& name : classes_in(folder)) {
    const auto found = std::find(classes.begin(), classes.end(), name);
    const std::string below = (fs::path(folder) / name).string();
    if (found == classes.end()) {
      throw Error(Exit::data, cat(printable(below, 200), ": none of the classes of training: ",
                                  printable(join(classes), 200)));
    }
    const std::vector<std::string> paths = files_below(below, kImageEndings);
    if (paths.empty()) {
      throw Error(Exit::data, cat(printable(below, 200), ": holds no image (.png, .jpg, .ppm)"));
    }
    const auto label = static_cast<std::int32_t>(found - classes.begin());
    for (const std::string& path : paths) out.push_back({path, label});
  }
  std::sort(out.begin(), out.end(),
            [](const Source& a, const Source& b) { return a.path < b.path; });
  return out;
}

class Importer {
 public:
  explicit Importer(const ImagesOptions& options) : options_(options), writer_(options.output) {
    report_.output = options.output;
  }

  ImportReport run() {
    const std::vector<std::string> classes = classes_in(options_.folder);
    std::vector<Source> train = good(sources_in(options_.folder, classes)), test;
    if (!options_.test_folder.empty()) {
      test = good(sources_in(options_.test_folder, classes));
    } else {
      const Split split = split_rows(static_cast<std::int64_t>(train.size()), options_.split);
      for (const std::int64_t row : split.test)
        test.push_back(train[static_cast<std::size_t>(row)]);
      std::vector<Source> rest;
      for (const std::int64_t row : split.train)
        rest.push_back(train[static_cast<std::size_t>(row)]);
      train = std::move(rest);
    }
    write("/train", train);
    if (!test.empty()) write("/test", test);
    data::write_text_list(writer_, "/labels", classes);
    note(classes);
    writer_.commit();
    return std::move(report_);
  }

 private:
  [[nodiscard]] Image read(const Source& source) const {
    const Image image = read_image(source.path, options_.grey ? Colour::grey : Colour::rgb);
    return resized(image,
                   {.height = options_.height,
                    .width = options_.width,
                    .resampling = options_.bilinear ? Resampling::bilinear : Resampling::area,
                    .fit = options_.crop ? Fit::crop : Fit::stretch});
  }

  /// Those that can be read: a data set is made with its number of rows, so where bad ones are to
  /// be passed over, all are read once before.
  std::vector<Source> good(std::vector<Source> sources) {
    if (!options_.skip_bad) return sources;
    std::erase_if(sources, [&](const Source& source) {
      try {
        (void)read_image(source.path, Colour::rgb);
        return false;
      } catch (const Error& error) {
        if (error.exit() != Exit::data) throw;
        skipped_.emplace_back(error.what());
        return true;
      }
    });
    if (sources.empty()) {
      throw Error(Exit::data, cat("import images: all images are damaged: ", skipped_.front()));
    }
    return sources;
  }

  /// One image in memory at a time.
  void write(const std::string& part, const std::vector<Source>& sources) {
    const auto num_rows = static_cast<std::int64_t>(sources.size());
    const tensor::Shape shape{options_.height, options_.width, options_.grey ? 1 : 3};
    const int images = writer_.add({.name = part + "/images",
                                    .dtype = DType::u8,
                                    .num_rows = num_rows,
                                    .row_shape = shape,
                                    .deflate_level = options_.deflate_level});
    std::vector<std::int32_t> labels;
    for (const Source& source : sources) {
      const Image image = read(source);
      writer_.write_rows(images, static_cast<std::int64_t>(labels.size()), 1, image.pixels.data());
      labels.push_back(source.label);
    }
    std::vector<std::int64_t> sizes{num_rows};
    sizes.insert(sizes.end(), shape.dims().begin(), shape.dims().end());
    report_.items.push_back({.name = part + "/images", .type = "u8", .shape = sizes});
    write_rows(writer_, part + "/labels", {DType::i32, num_rows, tensor::Shape{}, to_bytes(labels)},
               options_.deflate_level, report_);
  }

  void note(const std::vector<std::string>& classes) {
    std::vector<std::string> shown;
    for (std::size_t i = 0; i < classes.size() && i < kNamed; ++i) {
      shown.push_back(cat(i, " = ", printable(classes[i], 40)));
    }
    if (classes.size() > shown.size()) shown.emplace_back("...");
    report_.notes.push_back(cat("classes: ", join(shown)));
    for (std::size_t i = 0; i < skipped_.size() && i < kNamed; ++i) {
      report_.notes.push_back("skipped " + skipped_[i]);
    }
    if (skipped_.size() > kNamed) {
      report_.notes.push_back(cat("skipped ", skipped_.size(), " images in all"));
    }
  }

  const ImagesOptions& options_;
  data::Hdf5Writer writer_;
  ImportReport report_;
  std::vector<std::string> skipped_;  // why
};

}  // namespace

ImportReport import_images(const ImagesOptions& options) {
  if (options.height < 1 || options.width < 1) {
    throw Error(Exit::usage, "import images: expected a size of at least 1 x 1");
  }
  if (!options.test_folder.empty() && options.split.test_fraction > 0.0) {
    throw Error(Exit::usage, "import images: with a test folder there is nothing to split off");
  }
  check_output(options.output, {options.folder, options.test_folder});
  return Importer(options).run();
}

}  // namespace dlt::import_
