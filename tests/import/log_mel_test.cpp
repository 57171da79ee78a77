// SPDX-License-Identifier: Apache-2.0
#include "import/log_mel.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "import/files.h"

namespace dlt::import_ {
namespace {

using ::testing::HasSubstr;

/// As in tests/golden/make_log_mel.py.
std::vector<float> signal(std::int64_t count) {
  std::uint32_t state = 1;
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    out.push_back(static_cast<float>(static_cast<double>(state) / 4294967296.0 - 0.5 +
                                     0.25 * (i % 20 < 10 ? 1 : -1)));
  }
  return out;
}

TEST(FourierTransform, IsTheSumOfItsDefinition) {
  for (const std::int64_t size : {1, 2, 8, 64}) {
    std::vector<std::complex<double>> values;
    for (std::int64_t i = 0; i < size; ++i) {
      values.emplace_back(std::sin(3.0 * static_cast<double>(i)),
                          std::cos(static_cast<double>(i * i)));
    }
    const auto before = values;
    FourierTransform(size).apply(values);
    for (std::int64_t k = 0; k < size; ++k) {
      std::complex<double> sum = 0.0;
      for (std::int64_t i = 0; i < size; ++i) {
        const double turns = static_cast<double>(i * k) / static_cast<double>(size);
        sum += before[static_cast<std::size_t>(i)] * std::polar(1.0, -2.0 * M_PI * turns);
      }
      ASSERT_LT(std::abs(sum - values[static_cast<std::size_t>(k)]), 1e-12) << size << " " << k;
    }
  }
}

TEST(LogMel, AgreesWithTheReference) {
  std::ifstream file("tests/golden/log_mel.txt");
  std::string line;
  int num_cases = 0;
  while (std::getline(file, line)) {
    std::istringstream head(line);
    LogMelOptions o;
    std::int64_t num_samples = 0;
    head >> o.sample_rate >> o.window >> o.hop >> o.num_fft >> o.num_mels >> o.min_hz >> o.max_hz >>
        num_samples;
    const LogMel features(o);
    const std::vector<float> samples = signal(num_samples);
    const std::int64_t num_frames = features.num_frames(num_samples);
    const std::vector<float> got = features.frames(samples, num_frames);
    for (std::size_t i = 0; i < got.size(); ++i) {
      double expected = 0.0;
      file >> expected;
      ASSERT_TRUE(file) << "more frames than the reference has";
      ASSERT_NEAR(got[i], expected, 1e-5 * std::max(1.0, std::abs(expected))) << line << " " << i;
    }
    std::getline(file, line);
    ++num_cases;
  }
  EXPECT_EQ(num_cases, 3);
}

TEST(LogMel, CountsWholeFramesAndAtLeastOne) {
  const LogMel features(
      {.sample_rate = 8000, .window = 200, .hop = 80, .num_fft = 256, .max_hz = 4000});
  EXPECT_EQ(features.num_frames(1), 1);
  EXPECT_EQ(features.num_frames(200), 1);
  EXPECT_EQ(features.num_frames(279), 1);
  EXPECT_EQ(features.num_frames(280), 2);
}

TEST(LogMel, SilenceIsTheFloor) {
  const LogMel features({});
  const std::vector<float> silence(400, 0.0F);
  for (const float value : features.frames(silence, 1)) {
    EXPECT_FLOAT_EQ(value, static_cast<float>(std::log(1e-10)));
  }
}

TEST(LogMel, RefusesOptionsThatMakeNoSense) {
  const auto make = [](LogMelOptions options) { return LogMel(options); };
  EXPECT_REFUSED(make({.num_fft = 500}), Exit::usage, HasSubstr("power of two"), HasSubstr("500"));
  EXPECT_REFUSED(make({.window = 600}), Exit::usage, HasSubstr("window"), HasSubstr("512"));
  EXPECT_REFUSED(make({.hop = 0}), Exit::usage, HasSubstr("hop"));
  EXPECT_REFUSED(make({.num_mels = 0}), Exit::usage, HasSubstr("mels"));
  EXPECT_REFUSED(make({.max_hz = 9000}), Exit::usage, HasSubstr("8000"), HasSubstr("9000"));
  EXPECT_REFUSED(make({.min_hz = 500, .max_hz = 400}), Exit::usage, HasSubstr("500 to 400"));
  EXPECT_REFUSED(make({.num_mels = 200}), Exit::usage, HasSubstr("fewer mels or a larger FFT"));
}

}  // namespace
}  // namespace dlt::import_
