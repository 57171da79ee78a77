// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/text_list.h"
#include "data/writer.h"
#include "import/file_tree.h"
#include "import/import.h"
#include "import/log_mel.h"
#include "import/name_pattern.h"
#include "import/parts.h"
#include "import/wav_file.h"

namespace dlt::import_ {
namespace {

/// One recording's features, [frames, mels].
struct Clip {
  std::string path;
  std::string label;
  bool is_test = false;
  std::int64_t whole_frames = 0;  // of the recording
  std::int64_t num_frames = 0;    // of them that are kept
  std::vector<float> values;
};

/// What is done to every band, and the classes in their order.
struct Applied {
  std::vector<float> mean, deviation;
  std::vector<std::string> classes;
  std::int64_t frames = 0;
};

std::vector<std::string> wav_files(const std::vector<std::string>& inputs) {
  static constexpr std::array<std::string_view, 1> kEndings{".wav"};
  std::vector<std::string> out;
  for (const std::string& input : inputs) {
    std::error_code error;
    if (!std::filesystem::is_directory(input, error)) {
      out.push_back(input);
      continue;
    }
    const std::vector<std::string> found = files_below(input, kEndings);
    if (found.empty()) throw Error(Exit::data, cat(input, ": holds no .wav file"));
    out.insert(out.end(), found.begin(), found.end());
  }
  std::sort(out.begin(), out.end());
  return out;
}

LogMelOptions resolved(const WavOptions& options, std::int64_t rate) {
  LogMelOptions out{.sample_rate = rate,
                    .window = options.window,
                    .hop = options.hop,
                    .num_fft = options.num_fft,
                    .num_mels = options.num_mels,
                    .min_hz = options.min_hz,
                    .max_hz = options.max_hz};
  if (out.window == 0) out.window = std::max<std::int64_t>(1, (rate + 20) / 40);
  if (out.hop == 0) out.hop = std::max<std::int64_t>(1, (rate + 50) / 100);
  if (out.num_fft == 0) {
    out.num_fft = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(out.window)));
  }
  if (out.max_hz == 0.0) out.max_hz = static_cast<double>(rate) / 2.0;
  return out;
}

class Reader {
 public:
  explicit Reader(const WavOptions& options)
      : options_(options), pattern_(options.pattern), rate_(options.sample_rate) {
    if (!options.test_rule.empty()) rule_.emplace(options.test_rule);
    if (rule_ && !pattern_.has(rule_->field())) {
      throw Error(Exit::usage, cat("rule '", printable(options.test_rule), "': the pattern '",
                                   printable(options.pattern), "' has no field '",
                                   printable(rule_->field()), "'"));
    }
  }

  [[nodiscard]] bool has_labels() const { return pattern_.has("label"); }
  [[nodiscard]] std::int64_t sample_rate() const { return rate_; }

  Clip read(const std::string& path) {
    Clip clip{.path = path};
    const auto fields = pattern_.fields_of(path);
    if (has_labels()) clip.label = fields.at("label");
    clip.is_test = rule_ && rule_->holds(fields.at(rule_->field()), path);
    const Recording recording = read_wav(path);
    if (rate_ == 0) rate_ = recording.sample_rate;
    if (recording.sample_rate != rate_) {
      throw Error(Exit::data,
                  cat(path, ": its sample rate is ", recording.sample_rate, ", expected ", rate_,
                      " as of ", options_.sample_rate > 0 ? "--sample-rate" : "the first file"));
    }
    if (!features_) features_.emplace(resolved(options_, rate_));
    clip.whole_frames = features_->num_frames(static_cast<std::int64_t>(recording.samples.size()));
    clip.num_frames =
        options_.frames > 0 ? std::min(clip.whole_frames, options_.frames) : clip.whole_frames;
    clip.values = features_->frames(recording.samples, clip.num_frames);
    return clip;
  }

 private:
  const WavOptions& options_;
  NamePattern pattern_;
  std::optional<FieldRule> rule_;
  std::optional<LogMel> features_;
  std::int64_t rate_;
};

/// Mean and deviation of each band over the real frames of the training part.
void measure(const std::vector<Clip>& clips, const Split& split, std::size_t num_mels,
             Applied& out) {
  std::vector<double> sums(num_mels, 0.0), squares(num_mels, 0.0);
  double count = 0.0;
  const auto over_all = [&](const auto& use) {
    for (const std::int64_t row : split.train) {
      const Clip& clip = clips[static_cast<std::size_t>(row)];
      for (std::size_t i = 0; i < clip.values.size(); ++i) {
        use(i % num_mels, static_cast<double>(clip.values[i]));
      }
    }
  };
  for (const std::int64_t row : split.train) {
    count += static_cast<double>(clips[static_cast<std::size_t>(row)].num_frames);
  }
  over_all([&](std::size_t band, double value) { sums[band] += value; });
  over_all([&](std::size_t band, double value) {
    const double from_mean = value - sums[band] / count;
    squares[band] += from_mean * from_mean;
  });
  for (std::size_t band = 0; band < num_mels; ++band) {
    const double deviation = std::sqrt(squares[band] / count);
    out.mean.push_back(static_cast<float>(sums[band] / count));
    out.deviation.push_back(deviation > 0.0 ? static_cast<float>(deviation) : 1.0F);
  }
}

std::vector<float> read_numbers(const std::string& file, const std::string& name) {
  const auto dataset = data::open_hdf5({.file = file, .inputs = name});
  std::vector<float> out(
      static_cast<std::size_t>(dataset->num_rows() * dataset->input_shape().numel()));
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < dataset->num_rows(); ++row) rows.push_back(row);
  dataset->read(rows, out.data(), nullptr);
  return out;
}

/// What an earlier import applied.
Applied read_applied(const WavOptions& options, bool has_labels) {
  Applied out{.mean = read_numbers(options.like, "/features/mean"),
              .deviation = read_numbers(options.like, "/features/deviation")};
  const auto mels = static_cast<std::size_t>(options.num_mels);
  if (out.mean.size() != mels || out.deviation.size() != mels) {
    throw Error(Exit::data, cat(options.like, ": '/features/mean' has ", out.mean.size(),
                                " bands, expected ", mels, " as of --mels"));
  }
  if (has_labels) out.classes = data::read_text_list(options.like, "/labels");
  const auto features =
      data::open_hdf5({.file = options.like, .inputs = "/train/features", .cache_bytes = 0});
  out.frames = features->input_shape().rank() == 2 ? features->input_shape()[0] : 0;
  return out;
}

/// The names, numbers in their order before words.
std::vector<std::string> classes_of(const std::vector<Clip>& clips) {
  std::set<std::string> names;
  for (const Clip& clip : clips) names.insert(clip.label);
  std::vector<std::string> out(names.begin(), names.end());
  const auto number = [](const std::string& text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() ? value : INT64_MAX;
  };
  std::stable_sort(out.begin(), out.end(), [&](const std::string& a, const std::string& b) {
    return number(a) < number(b);
  });
  return out;
}

Rows feature_rows(const std::vector<Clip>& clips, const Applied& applied) {
  const std::size_t mels = applied.mean.size();
  const std::size_t row = static_cast<std::size_t>(applied.frames) * mels;
  std::vector<float> values(clips.size() * row, 0.0F);  // padding: the mean
  for (std::size_t c = 0; c < clips.size(); ++c) {
    const std::vector<float>& from = clips[c].values;
    for (std::size_t i = 0; i < std::min(row, from.size()); ++i) {
      values[c * row + i] = (from[i] - applied.mean[i % mels]) / applied.deviation[i % mels];
    }
  }
  return {DType::f32, static_cast<std::int64_t>(clips.size()),
          tensor::Shape{applied.frames, static_cast<std::int64_t>(mels)}, to_bytes(values)};
}

Rows label_rows(const std::vector<Clip>& clips, const Applied& applied) {
  std::vector<std::int32_t> labels;
  for (const Clip& clip : clips) {
    const auto found = std::find(applied.classes.begin(), applied.classes.end(), clip.label);
    if (found == applied.classes.end()) {
      throw Error(Exit::data, cat(clip.path, ": label '", printable(clip.label),
                                  "' is none of the classes: ", printable(join(applied.classes))));
    }
    labels.push_back(static_cast<std::int32_t>(found - applied.classes.begin()));
  }
  return {DType::i32, static_cast<std::int64_t>(labels.size()), tensor::Shape{}, to_bytes(labels)};
}

Rows length_rows(const std::vector<Clip>& clips, std::int64_t frames) {
  std::vector<std::int32_t> lengths;
  for (const Clip& clip : clips) {
    lengths.push_back(static_cast<std::int32_t>(std::min(clip.num_frames, frames)));
  }
  return {DType::i32, static_cast<std::int64_t>(lengths.size()), tensor::Shape{},
          to_bytes(lengths)};
}

Split split_of(const WavOptions& options, const std::vector<Clip>& clips) {
  if (options.test_rule.empty()) {
    return split_rows(static_cast<std::int64_t>(clips.size()), options.split);
  }
  Split split;
  for (std::size_t i = 0; i < clips.size(); ++i) {
    (clips[i].is_test ? split.test : split.train).push_back(static_cast<std::int64_t>(i));
  }
  if (split.train.empty() || split.test.empty()) {
    throw Error(Exit::usage, cat("rule '", printable(options.test_rule), "' leaves ",
                                 split.train.empty() ? "no training" : "no test", " recordings"));
  }
  return split;
}

void check_wav(const WavOptions& options) {
  if (options.inputs.empty()) throw Error(Exit::usage, "import wav: no file or folder is named");
  if (!options.test_rule.empty() && options.split.test_fraction > 0.0) {
    throw Error(Exit::usage, "import wav: a test rule and a test fraction exclude each other");
  }
  std::vector<std::string> sources = options.inputs;
  sources.push_back(options.like);
  check_output(options.output, sources);
}

void report_on(const std::vector<Clip>& clips, const Applied& applied, std::int64_t rate,
               ImportReport& report) {
  const auto cut = std::count_if(clips.begin(), clips.end(), [&](const Clip& clip) {
    return clip.whole_frames > applied.frames;
  });
  std::int64_t longest = 0;
  for (const Clip& clip : clips) longest = std::max(longest, clip.whole_frames);
  report.notes.push_back(cat(clips.size(), " recordings at ", rate, " Hz, up to ",
                             counted(longest, "frame", "frames"), "; ", cut, " cut to ",
                             applied.frames));
  if (!applied.classes.empty()) {
    std::vector<std::string> shown;
    for (std::size_t i = 0; i < applied.classes.size() && i < 20; ++i) {
      shown.push_back(cat(i, " = ", printable(applied.classes[i], 40)));
    }
    if (applied.classes.size() > shown.size()) shown.emplace_back("...");
    report.notes.push_back(cat("classes: ", join(shown)));
  }
}

}  // namespace

ImportReport import_wav(const WavOptions& options) {
  check_wav(options);
  Reader reader(options);
  std::vector<Clip> clips;
  for (const std::string& path : wav_files(options.inputs)) clips.push_back(reader.read(path));
  const Split split = split_of(options, clips);
  Applied applied;
  if (options.like.empty()) {
    measure(clips, split, static_cast<std::size_t>(options.num_mels), applied);
    if (reader.has_labels()) applied.classes = classes_of(clips);
  } else {
    applied = read_applied(options, reader.has_labels());
  }
  if (options.frames > 0) applied.frames = options.frames;
  if (applied.frames == 0) {
    for (const Clip& clip : clips) applied.frames = std::max(applied.frames, clip.num_frames);
  }

  ImportReport report;
  report.output = options.output;
  data::Hdf5Writer writer(options.output);
  const int level = options.deflate_level;
  write_split(writer, {"features", level}, feature_rows(clips, applied), split, report);
  if (reader.has_labels()) {
    write_split(writer, {"labels", level}, label_rows(clips, applied), split, report);
    data::write_text_list(writer, "/labels", applied.classes);
  }
  write_split(writer, {"lengths", level}, length_rows(clips, applied.frames), split, report);
  const auto mels = static_cast<std::int64_t>(applied.mean.size());
  writer.write({.name = "/features/mean", .num_rows = mels}, applied.mean.data());
  writer.write({.name = "/features/deviation", .num_rows = mels}, applied.deviation.data());
  report_on(clips, applied, reader.sample_rate(), report);
  writer.commit();
  return report;
}

}  // namespace dlt::import_
