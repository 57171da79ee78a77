// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>
#include <numbers>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"
#include "data/writer.h"
#include "import/import.h"
#include "import/parts.h"
#include "import/synth_shapes.h"

namespace dlt::import_ {
namespace {

constexpr std::int64_t kMaxNumbers = std::int64_t{1} << 33;

/// Numbers of one purpose: element `index` of row `row`, whatever the order of asking.
class Stream {
 public:
  Stream(std::uint64_t seed, std::string_view purpose) : key_{seed, rng::op_id(purpose), 0, 0} {}
  [[nodiscard]] float uniform(std::int64_t row, std::int64_t index) const {
    return rng::uniform(at(row), static_cast<std::uint64_t>(index));
  }
  [[nodiscard]] double normal(std::int64_t row, std::int64_t index) const {
    return static_cast<double>(rng::normal(at(row), static_cast<std::uint64_t>(index)));
  }

 private:
  [[nodiscard]] rng::Key at(std::int64_t row) const {
    rng::Key key = key_;
    key.sample = static_cast<std::uint64_t>(row);
    return key;
  }
  rng::Key key_;
};

struct Example {
  Rows x, y;
};

Rows numbers(const std::vector<float>& values, std::int64_t num_rows, std::int64_t width) {
  return {DType::f32, num_rows, tensor::Shape{width}, to_bytes(values)};
}

Rows label_numbers(const std::vector<std::int32_t>& values) {
  return {DType::i32, static_cast<std::int64_t>(values.size()), tensor::Shape{}, to_bytes(values)};
}

Example regression(const SynthOptions& options, std::int64_t num_rows) {
  const Stream inputs(options.seed, "synth.regression.x");
  const Stream weights(options.seed, "synth.regression.w");
  const Stream noise(options.seed, "synth.regression.noise");
  const double deviation = options.noise < 0.0 ? 0.01 : options.noise;
  std::vector<float> x, y;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    double target = 0.0;
    for (std::int64_t i = 0; i < options.features; ++i) {
      const float value = inputs.uniform(row, i);
      const double weight = 2.0 * static_cast<double>(weights.uniform(0, i)) - 1.0;
      target += static_cast<double>(value) * weight;
      if (i == 0) target += 0.5 * std::sin(2.0 * std::numbers::pi * static_cast<double>(value));
      x.push_back(value);
    }
    y.push_back(static_cast<float>(target + deviation * noise.normal(row, 0)));
  }
  return {numbers(x, num_rows, options.features), numbers(y, num_rows, 1)};
}

Example blobs(const SynthOptions& options, std::int64_t num_rows) {
  const Stream centres(options.seed, "synth.blobs.centre");
  const Stream noise(options.seed, "synth.blobs.noise");
  const double deviation = options.noise < 0.0 ? 1.0 : options.noise;
  std::vector<float> x;
  std::vector<std::int32_t> y;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const std::int64_t label = row % options.classes;
    for (std::int64_t i = 0; i < options.features; ++i) {
      x.push_back(
          static_cast<float>(4.0 * centres.normal(label, i) + deviation * noise.normal(row, i)));
    }
    y.push_back(static_cast<std::int32_t>(label));
  }
  return {numbers(x, num_rows, options.features), label_numbers(y)};
}

Example spirals(const SynthOptions& options, std::int64_t num_rows) {
  const Stream places(options.seed, "synth.spirals.place");
  const Stream noise(options.seed, "synth.spirals.noise");
  const double deviation = options.noise < 0.0 ? 0.02 : options.noise;
  std::vector<float> x;
  std::vector<std::int32_t> y;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const std::int64_t label = row % options.classes;
    const double radius = static_cast<double>(places.uniform(row, 0));
    const double angle =
        2.0 * std::numbers::pi *
        (1.25 * radius + static_cast<double>(label) / static_cast<double>(options.classes));
    x.push_back(static_cast<float>(radius * std::cos(angle) + deviation * noise.normal(row, 0)));
    x.push_back(static_cast<float>(radius * std::sin(angle) + deviation * noise.normal(row, 1)));
    y.push_back(static_cast<std::int32_t>(label));
  }
  return {numbers(x, num_rows, 2), label_numbers(y)};
}

Example shapes(const SynthOptions& options, std::int64_t num_rows) {
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> y;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    draw_shape(options.seed, row, options.noise < 0.0 ? 20.0 : options.noise, pixels);
    y.push_back(static_cast<std::int32_t>(row % kNumShapes));
  }
  const tensor::Shape image{kShapePixels, kShapePixels, 3};
  return {{DType::u8, num_rows, image, to_bytes(pixels)}, label_numbers(y)};
}

struct Kind {
  std::string_view name;
  Example (*make)(const SynthOptions&, std::int64_t);
};
constexpr std::array<Kind, 4> kKinds = {
    {{"blobs", blobs}, {"regression", regression}, {"shapes", shapes}, {"spirals", spirals}}};

Rows slice(const Rows& rows, std::int64_t first, std::int64_t count) {
  const auto begin = rows.bytes.begin() + first * rows.row_bytes();
  return {rows.dtype, count, rows.row_shape, {begin, begin + count * rows.row_bytes()}};
}

void check_synth(const SynthOptions& options) {
  const auto expect = [](bool fine, std::string_view what, auto got, std::string_view legal) {
    if (!fine)
      throw Error(Exit::usage, cat("data synth: ", what, ": expected ", legal, ", got ", got));
  };
  expect(options.rows >= 1 && options.rows <= kMaxNumbers, "rows", options.rows, "1 to 2^33");
  expect(options.test_rows >= 0 && options.test_rows <= kMaxNumbers, "test rows", options.test_rows,
         "0 to 2^33");
  expect(options.features >= 1 && options.features <= (1 << 20), "features", options.features,
         "1 to 1048576");
  expect(options.classes >= 1 && options.classes <= (1 << 20), "classes", options.classes,
         "1 to 1048576");
  expect(std::isfinite(options.noise) && options.noise <= 1e30, "noise", options.noise,
         "a finite number");
  expect((options.rows + options.test_rows) <= kMaxNumbers / options.features, "rows x features",
         cat(options.rows + options.test_rows, " x ", options.features), "at most 2^33 numbers");
}

}  // namespace

ImportReport synthesise(const std::string& name, const SynthOptions& options) {
  const Kind* found = nullptr;
  for (const Kind& kind : kKinds) {
    if (kind.name == name) found = &kind;
  }
  if (found == nullptr) {
    const std::string close_name = nearest(name, synth_names());
    throw Error(
        Exit::usage,
        cat("data synth: no kind '", printable(name), "', expected one of ", join(synth_names())),
        close_name.empty() ? "" : cat("did you mean '", close_name, "'?"));
  }
  check_synth(options);
  check_output(options.output, {});
  ImportReport report;
  report.output = options.output;
  const Example all = found->make(options, options.rows + options.test_rows);
  data::Hdf5Writer writer(options.output);
  const auto write = [&](const std::string& part, const Rows& rows) {
    write_rows(writer, "/train/" + part, slice(rows, 0, options.rows), options.deflate_level,
               report);
    if (options.test_rows == 0) return;
    write_rows(writer, "/test/" + part, slice(rows, options.rows, options.test_rows),
               options.deflate_level, report);
  };
  write("x", all.x);
  write("y", all.y);
  writer.commit();
  return report;
}

std::vector<std::string> synth_names() {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

}  // namespace dlt::import_
