// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/text_list.h"
#include "import/files.h"
#include "import/import.h"
#include "import/wav_file.h"

namespace dlt::import_ {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_table;
using testing::TempDir;

std::string little(std::uint32_t value, int num_bytes) {
  std::string out;
  for (int i = 0; i < num_bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

struct Header {
  std::uint32_t tag = 1, channels = 1, rate = 8000, bits = 16;
  bool extensible = false;
};

std::string chunk(const std::string& name, const std::string& body) {
  return name + little(static_cast<std::uint32_t>(body.size()), 4) + body +
         (body.size() % 2 == 1 ? std::string(1, '\0') : "");
}

std::string format_chunk(const Header& h) {
  const std::uint32_t block = h.channels * h.bits / 8;
  std::string body = little(h.extensible ? 0xFFFE : h.tag, 2) + little(h.channels, 2) +
                     little(h.rate, 4) + little(h.rate * block, 4) + little(block, 2) +
                     little(h.bits, 2);
  if (h.extensible) {
    body += little(22, 2) + little(h.bits, 2) + little(4, 4) + little(h.tag, 2) +
            std::string("\0\0\0\0\x10\0\x80\0\0\xAA\0\x38\x9B\x71", 14);
  }
  return chunk("fmt ", body);
}

std::string riff(const std::string& chunks) {
  return "RIFF" + little(static_cast<std::uint32_t>(chunks.size() + 4), 4) + "WAVE" + chunks;
}

std::string wav(const Header& header, const std::string& sound) {
  return riff(format_chunk(header) + chunk("LIST", "odd") + chunk("data", sound));
}

/// A tone of so many samples at 8 kHz.
std::string tone(int num_samples, double hz) {
  std::string sound;
  for (int i = 0; i < num_samples; ++i) {
    const double value = 8000.0 * std::sin(2.0 * M_PI * hz * i / 8000.0);
    sound += little(static_cast<std::uint32_t>(static_cast<std::int32_t>(value)), 2);
  }
  return wav({}, sound);
}

TEST(WavFile, ReadsEverySampleFormat) {
  const TempDir dir;
  const auto samples = [&](const Header& header, const std::string& sound) {
    return read_wav(dir.put("a.wav", wav(header, sound))).samples;
  };
  EXPECT_THAT(samples({.bits = 8}, std::string("\x80\xFF\x00", 3)),
              ElementsAre(0.0F, 127.0F / 128.0F, -1.0F));
  EXPECT_THAT(samples({}, std::string("\0\x40\0\x80\xFF\xFF", 6)),
              ElementsAre(0.5F, -1.0F, -1.0F / 32768.0F));
  EXPECT_THAT(samples({.bits = 24}, std::string("\0\0\x40\0\0\x80", 6)), ElementsAre(0.5F, -1.0F));
  EXPECT_THAT(samples({.bits = 32}, std::string("\0\0\0\x40\0\0\0\x80", 8)),
              ElementsAre(0.5F, -1.0F));
  EXPECT_THAT(samples({.tag = 3, .bits = 32}, little(0x3E800000, 4)), ElementsAre(0.25F));
  EXPECT_THAT(samples({.extensible = true}, std::string("\0\x40", 2)), ElementsAre(0.5F));
  EXPECT_THAT(samples({.channels = 2}, std::string("\0\x40\0\x20\0\x80\0\0", 8)),
              ElementsAre(0.375F, -0.5F));
  EXPECT_EQ(read_wav(dir.put("a.wav", wav({.rate = 44100}, "ab"))).sample_rate, 44100);
}

TEST(WavFile, RefusesWithFileAndByte) {
  const TempDir dir;
  const auto read = [&](const std::string& bytes) { return read_wav(dir.put("a.wav", bytes)); };
  EXPECT_REFUSED(read_wav(dir.file("b.wav")), Exit::missing, HasSubstr("b.wav"));
  EXPECT_REFUSED(read(""), Exit::data, HasSubstr("a.wav: byte 0: the file ends"));
  EXPECT_REFUSED(read("ID3\x04 music of another kind"), Exit::data, HasSubstr("not a WAV file"));
  EXPECT_REFUSED(read(riff("")), Exit::data, HasSubstr("byte 12: the file ends without sound"));
  EXPECT_REFUSED(read(riff(chunk("data", "ab"))), Exit::data,
                 HasSubstr("byte 12: sound before its format"));
  EXPECT_REFUSED(read(riff(chunk("fmt ", "short"))), Exit::data, HasSubstr("byte 16"));
  EXPECT_REFUSED(read(wav({.tag = 0x55}, "ab")), Exit::data, HasSubstr("byte 20: format 85"),
                 HasSubstr("PCM"));
  EXPECT_REFUSED(read(wav({.channels = 6}, "ab")), Exit::data, HasSubstr("byte 22: 6 channels"));
  EXPECT_REFUSED(read(wav({.rate = 0}, "ab")), Exit::data,
                 HasSubstr("byte 24: a sample rate of 0"));
  EXPECT_REFUSED(read(wav({.bits = 12}, "ab")), Exit::data, HasSubstr("byte 34: 12 bits"));
  EXPECT_REFUSED(read(wav({.tag = 3, .bits = 64}, "ab")), Exit::data, HasSubstr("64 bits"));
  EXPECT_REFUSED(read(wav({}, "abc")), Exit::data, HasSubstr("sound of 3 bytes"));
  EXPECT_REFUSED(read(wav({}, "")), Exit::data, HasSubstr("sound of 0 bytes"));
  const std::string good = wav({}, "abcd");
  EXPECT_REFUSED(read(good.substr(0, good.size() - 1)), Exit::data,
                 HasSubstr("sound of 4 bytes, but only 3 follow"));
  EXPECT_REFUSED(read(good.substr(0, 30)), Exit::data, HasSubstr("of 16 bytes, but only 10"));
  EXPECT_REFUSED(read(wav({.tag = 3, .bits = 32}, little(0x7F800000, 4))), Exit::data,
                 HasSubstr("not finite"));
}

TEST(WavFile, DamagedFilesAreReadOrRefused) {
  const TempDir dir;
  const std::string good = wav({.channels = 2, .extensible = true}, std::string(64, 'x'));
  const char* const wanted = std::getenv("DLTRAIN_FUZZ_SEED");
  const auto seed = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : std::random_device{}();
  for (unsigned round = 0; round < 400; ++round) {
    std::mt19937_64 random(seed + round);
    SCOPED_TRACE(::testing::Message() << "DLTRAIN_FUZZ_SEED=" << seed + round);
    std::string bytes = good;
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    for (int flips = 1 + static_cast<int>(random() % 4); flips > 0 && !bytes.empty(); --flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random() % 3 == 0 ? 0xFF : random());
    }
    try {
      EXPECT_FALSE(read_wav(dir.put("a.wav", bytes)).samples.empty());
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::data) << error.what();
    }
  }
}

WavOptions folder_of_tones(const TempDir& dir) {
  std::filesystem::create_directory(dir.file("in"));
  for (const char* const name : {"10_a_0", "10_a_1", "2_a_0", "2_b_1", "2_b_7"}) {
    const std::string text = name;
    const int index = text.back() - '0';
    (void)dir.put("in/" + text + ".wav", tone(400 + 80 * index, text[0] == '2' ? 500 : 1500));
  }
  WavOptions options;
  options.inputs = {dir.file("in")};
  options.output = dir.file("out.h5");
  options.num_mels = 20;
  return options;
}

TEST(ImportWav, MakesFeaturesLabelsAndLengths) {
  const TempDir dir;
  WavOptions options = folder_of_tones(dir);
  options.test_rule = "index<1";
  const ImportReport report = import_wav(options);
  const auto train = read_table(options.output, "/train/features");
  EXPECT_EQ(train.rows, 3);
  EXPECT_EQ(train.shape, (tensor::Shape{10, 20}));  // 400 + 7 x 80 samples: 3 + 7 frames
  EXPECT_EQ(read_table(options.output, "/test/features").rows, 2);
  EXPECT_THAT(data::read_text_list(options.output, "/labels"), ElementsAre("2", "10"));
  // In the order of the names: 10_a_0 10_a_1 2_a_0 2_b_1 2_b_7.
  EXPECT_THAT(read_table(options.output, "/train/labels").numbers, ElementsAre(1, 0, 0));
  EXPECT_THAT(read_table(options.output, "/test/labels").numbers, ElementsAre(1, 0));
  EXPECT_THAT(read_table(options.output, "/train/lengths").numbers, ElementsAre(4, 4, 10));
  for (std::size_t i = 4 * 20; i < 10 * 20; ++i) ASSERT_EQ(train.numbers[i], 0.0F);  // padding
}

TEST(ImportWav, BringsBandsToMean0AndDeviation1OverRealFramesOfTheTrainingPart) {
  const TempDir dir;
  WavOptions options = folder_of_tones(dir);
  options.test_rule = "index=7";
  (void)import_wav(options);
  const auto train = read_table(options.output, "/train/features");
  const auto lengths = read_table(options.output, "/train/lengths").numbers;
  for (std::size_t band = 0; band < 20; ++band) {
    double sum = 0.0, squares = 0.0, count = 0.0;
    for (std::size_t row = 0; row < 4; ++row) {
      for (std::size_t frame = 0; frame < static_cast<std::size_t>(lengths[row]); ++frame) {
        const auto frames = static_cast<std::size_t>(train.shape[0]);
        const double value = static_cast<double>(train.numbers[(row * frames + frame) * 20 + band]);
        sum += value;
        squares += value * value;
        count += 1.0;
      }
    }
    EXPECT_NEAR(sum / count, 0.0, 1e-5) << band;
    EXPECT_NEAR(squares / count, 1.0, 1e-4) << band;
  }
}

TEST(ImportWav, CutsAndPadsToTheFramesAskedFor) {
  const TempDir dir;
  WavOptions options = folder_of_tones(dir);
  options.frames = 5;
  const ImportReport report = import_wav(options);
  EXPECT_EQ(read_table(options.output, "/train/features").shape, (tensor::Shape{5, 20}));
  EXPECT_THAT(read_table(options.output, "/train/lengths").numbers, ElementsAre(3, 4, 3, 4, 5));
  EXPECT_THAT(report.notes[0], HasSubstr("1 cut to 5"));
}

TEST(ImportWav, AppliesAnEarlierImportsStatistics) {
  const TempDir dir;
  WavOptions first = folder_of_tones(dir);
  (void)import_wav(first);
  WavOptions second = first;
  second.inputs = {dir.file("in/2_b_7.wav"), dir.file("in/10_a_1.wav")};
  second.output = dir.file("second.h5");
  second.like = first.output;
  (void)import_wav(second);
  const auto all = read_table(first.output, "/train/features");
  const auto some = read_table(second.output, "/train/features");
  EXPECT_EQ(some.shape, all.shape);
  const auto row = static_cast<std::size_t>(all.shape.numel());
  for (std::size_t i = 0; i < row; ++i) {
    ASSERT_EQ(some.numbers[i], all.numbers[row + i]);            // 10_a_1
    ASSERT_EQ(some.numbers[row + i], all.numbers[4 * row + i]);  // 2_b_7
  }
  EXPECT_THAT(read_table(second.output, "/train/labels").numbers, ElementsAre(1, 0));
  second.num_mels = 10;
  EXPECT_REFUSED(import_wav(second), Exit::data, HasSubstr("20 bands, expected 10"));
  second.num_mels = 20;
  (void)dir.put("in/3_b_0.wav", tone(400, 100));
  second.inputs = {dir.file("in/3_b_0.wav")};
  EXPECT_REFUSED(import_wav(second), Exit::data,
                 HasSubstr("label '3' is none of the classes: 2, 10"));
}

TEST(ImportWav, RefusesMistakes) {
  const TempDir dir;
  const WavOptions good = folder_of_tones(dir);
  WavOptions options = good;
  options.test_rule = "indx<5";
  EXPECT_REFUSED(import_wav(options), Exit::usage, HasSubstr("no field 'indx'"));
  options.test_rule = "index<0";
  EXPECT_REFUSED(import_wav(options), Exit::usage, HasSubstr("leaves no test recordings"));
  options.test_rule = "index<9";
  EXPECT_REFUSED(import_wav(options), Exit::usage, HasSubstr("leaves no training recordings"));
  options.split.test_fraction = 0.5;
  EXPECT_REFUSED(import_wav(options), Exit::usage, HasSubstr("exclude each other"));
  options = good;
  options.sample_rate = 16000;
  EXPECT_REFUSED(import_wav(options), Exit::data, HasSubstr("sample rate is 8000, expected 16000"));
  options = good;
  options.pattern = "{label}-{index}.wav";
  EXPECT_REFUSED(import_wav(options), Exit::data, HasSubstr("does not fit the pattern"));
  options.inputs = {dir.file("nothing")};
  std::filesystem::create_directory(dir.file("nothing"));
  EXPECT_REFUSED(import_wav(options), Exit::data, HasSubstr("holds no .wav file"));
  options.inputs.clear();
  EXPECT_REFUSED(import_wav(options), Exit::usage, HasSubstr("no file or folder"));
  EXPECT_FALSE(std::filesystem::exists(good.output));
}

}  // namespace
}  // namespace dlt::import_
