// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "import/files.h"
#include "import/import.h"

namespace dlt::import_ {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_table;
using testing::Table;
using testing::TempDir;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

TEST(Synth, RegressionIsTheTutorialsData) {
  const TempDir dir;
  SynthOptions options;
  options.output = dir.file("r.h5");
  const ImportReport report = synthesise("regression", options);
  ASSERT_EQ(report.items.size(), 4u);
  const Table x = read_table(options.output, "/train/x");
  EXPECT_EQ(x.rows, 100);
  EXPECT_EQ(x.shape, (tensor::Shape{10}));
  for (const float value : x.numbers) {
    EXPECT_GE(value, 0.0f);
    EXPECT_LT(value, 1.0f);
  }
  const Table y = read_table(options.output, "/train/y");
  EXPECT_EQ(y.shape, (tensor::Shape{1}));
  EXPECT_EQ(read_table(options.output, "/test/x").rows, 20);
}

TEST(Synth, ShapesAreImagesOfTenClasses) {
  const TempDir dir;
  SynthOptions options;
  options.output = dir.file("s.h5");
  (void)synthesise("shapes", options);
  const Table x = read_table(options.output, "/train/x");
  EXPECT_EQ(x.shape, (tensor::Shape{32, 32, 3}));
  const Table y = read_table(options.output, "/train/y");
  EXPECT_EQ(y.numbers[23], 3.0f);
  // Every image has an inside and an outside.
  for (std::size_t image = 0; image < 20; ++image) {
    const auto begin = x.numbers.begin() + static_cast<std::ptrdiff_t>(image * 3072);
    const auto [low, high] = std::minmax_element(begin, begin + 3072);
    EXPECT_GT(*high - *low, 64.0f) << image;
  }
}

TEST(Synth, TheSameOptionsGiveTheSameBytes) {
  const TempDir dir;
  for (const std::string& name : synth_names()) {
    SynthOptions options;
    options.output = dir.file("a.h5");
    (void)synthesise(name, options);
    options.output = dir.file("b.h5");
    (void)synthesise(name, options);
    EXPECT_EQ(bytes_of(dir.file("a.h5")), bytes_of(dir.file("b.h5"))) << name;
    options.seed = 2;
    (void)synthesise(name, options);
    EXPECT_NE(bytes_of(dir.file("a.h5")), bytes_of(dir.file("b.h5"))) << name;
  }
}

TEST(Synth, MoreRowsBeginWithTheSameRows) {
  const TempDir dir;
  SynthOptions options;
  options.output = dir.file("a.h5");
  options.rows = 5;
  (void)synthesise("blobs", options);
  const std::vector<float> few = read_table(options.output, "/train/x").numbers;
  options.rows = 50;
  (void)synthesise("blobs", options);
  std::vector<float> many = read_table(options.output, "/train/x").numbers;
  many.resize(few.size());
  EXPECT_EQ(few, many);
}

TEST(Synth, ClassesAreAllThere) {
  const TempDir dir;
  for (const char* name : {"blobs", "spirals"}) {
    SynthOptions options;
    options.output = dir.file("a.h5");
    options.rows = 9;
    options.classes = 4;
    EXPECT_EQ(synthesise(name, options).items[2].type, "i32");
    EXPECT_THAT(read_table(options.output, "/train/y").numbers,
                ElementsAre(0, 1, 2, 3, 0, 1, 2, 3, 0));
  }
}

TEST(Synth, RefusesOptionsThatMakeNoSense) {
  const TempDir dir;
  SynthOptions options;
  options.output = dir.file("a.h5");
  EXPECT_REFUSED(synthesise("regresion", options), Exit::usage,
                 HasSubstr("did you mean 'regression'?"));
  options.rows = 0;
  EXPECT_REFUSED(synthesise("regression", options), Exit::usage, HasSubstr("rows"));
  options.rows = 1 << 30;
  options.features = 1 << 20;
  EXPECT_REFUSED(synthesise("regression", options), Exit::usage, HasSubstr("2^33"));
  options = {};
  EXPECT_REFUSED(synthesise("regression", options), Exit::usage, HasSubstr("no output"));
}

}  // namespace
}  // namespace dlt::import_
