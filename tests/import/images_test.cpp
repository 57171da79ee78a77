// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <filesystem>
#include <random>

#include <gmock/gmock.h>
#include <jpeglib.h>
#include <png.h>

#include "base/fs.h"
#include "base/text.h"
#include "data/dataset.h"
#include "data/text_list.h"
#include "import/image_file.h"
#include "import/import.h"
#include "support/temp_folder.h"

namespace dlt::import_ {
namespace {

using dlt::test::error_of;
using dlt::test::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;

std::string ppm(int width, int height, const Bytes& pixels) {
  return cat("P6\n# made by a test\n", width, " ", height, "\n255\n",
             std::string(pixels.begin(), pixels.end()));
}

std::string png(std::uint32_t width, std::uint32_t height, std::uint32_t format,
                const Bytes& pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = format;
  std::string out(4096, '\0');
  png_alloc_size_t size = out.size();
  EXPECT_NE(png_image_write_to_memory(&image, out.data(), &size, 0, pixels.data(), 0, nullptr), 0);
  out.resize(size);
  return out;
}

std::string jpeg(std::uint32_t width, std::uint32_t height, std::uint8_t grey) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = width;
  info.image_height = height;
  info.input_components = 1;
  info.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&info);
  jpeg_start_compress(&info, TRUE);
  Bytes row(width, grey);
  JSAMPROW rows[] = {row.data()};
  for (std::uint32_t y = 0; y < height; ++y) jpeg_write_scanlines(&info, rows, 1);
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string out(reinterpret_cast<char*>(memory), size);
  std::free(memory);
  return out;
}

class Images : public ::testing::Test {
 protected:
  Image read(const std::string& bytes, Colour colour = Colour::rgb) {
    dlt::test::write_file(folder_ / "image", bytes);
    return read_image(folder_ / "image", colour);
  }
  std::string problem(const std::string& bytes) {
    return error_of([&] { (void)read(bytes); });
  }
  void put(const std::string& name, const std::string& bytes) {
    const std::string path = folder_ / name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    dlt::test::write_file(path, bytes);
  }
  TempFolder folder_;
};

TEST_F(Images, ReadsEveryFormat) {
  const Bytes two{255, 0, 0, 1, 2, 3};
  EXPECT_EQ(read(ppm(2, 1, two)).pixels, two);
  EXPECT_EQ(read(png(2, 1, PNG_FORMAT_RGB, two)).pixels, two);
  EXPECT_THAT(read(png(1, 1, PNG_FORMAT_RGBA, {9, 8, 7, 0})).pixels, ElementsAre(9, 8, 7));
  EXPECT_THAT(read(png(1, 1, PNG_FORMAT_GRAY, {9})).pixels, ElementsAre(9, 9, 9));
  EXPECT_THAT(read(std::string("P5 1 2 65535\n\xff\xff\x80\x00", 17)).pixels,
              ElementsAre(255, 255, 255, 128, 128, 128));
  const Image grey = read(jpeg(5, 3, 77), Colour::grey);
  EXPECT_EQ(grey.width, 5);
  EXPECT_EQ(grey.height, 3);
  EXPECT_THAT(grey.pixels, ::testing::Each(77));
  EXPECT_THAT(read(ppm(2, 1, two), Colour::grey).pixels, ElementsAre(76, 2));
}

TEST_F(Images, DamageIsToldWithThePath) {
  EXPECT_THAT(problem("GIF89a"), HasSubstr("/image: expected a PNG, JPEG"));
  EXPECT_THAT(problem(ppm(2, 2, {1, 2, 3})),
              HasSubstr("cut short: expected 12 bytes of pixels, got 3"));
  EXPECT_THAT(problem("P6 999999 999999 255\n"), HasSubstr("an image of 999999 x 999999"));
  const std::string good = jpeg(40, 40, 77), other = png(2, 1, PNG_FORMAT_RGB, {1, 2, 3, 4, 5, 6});
  EXPECT_THAT(problem(good.substr(0, good.size() - 20)), HasSubstr("damaged JPEG: "));
  EXPECT_THAT(problem(good.substr(0, 20)), HasSubstr("damaged JPEG: "));
  EXPECT_THAT(problem(other.substr(0, other.size() - 20)), HasSubstr("damaged PNG: "));
}

TEST_F(Images, ChangedBytesGiveAnImageOrAnError) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(cat("seed ", seed));
  std::mt19937 random(seed);
  const std::vector<std::string> good{
      jpeg(20, 20, 77), png(2, 1, PNG_FORMAT_RGB, {1, 2, 3, 4, 5, 6}), ppm(1, 1, {1, 2, 3})};
  for (int i = 0; i < 600; ++i) {
    std::string bytes = good[random() % good.size()];
    for (int edits = 0; edits < 4; ++edits)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    const std::string got = problem(bytes);
    EXPECT_TRUE(got == "no error" || got.starts_with("65: ")) << got;
  }
}

TEST(ImageResize, MeansWhatAPixelCovers) {
  const Image image{
      .height = 2, .width = 4, .channels = 1, .pixels = {0, 100, 200, 40, 20, 40, 0, 0}};
  EXPECT_THAT(resized(image, {.height = 1, .width = 2}).pixels, ElementsAre(40, 60));
  EXPECT_EQ(resized(image, {.height = 2, .width = 4}).pixels, image.pixels);
  const Image wide{.height = 1, .width = 3, .channels = 1, .pixels = {0, 90, 60}};
  EXPECT_THAT(resized(wide, {.height = 1, .width = 2}).pixels, ElementsAre(30, 70));
}

TEST(ImageResize, BilinearTakesTheTwoNearest) {
  const Image image{.height = 1, .width = 2, .channels = 1, .pixels = {0, 100}};
  EXPECT_THAT(resized(image, {.height = 1, .width = 4, .resampling = Resampling::bilinear}).pixels,
              ElementsAre(0, 25, 75, 100));
}

TEST(ImageResize, CropKeepsTheMiddle) {
  const Image image{.height = 1, .width = 3, .channels = 1, .pixels = {1, 50, 200}};
  EXPECT_THAT(resized(image, {.height = 1, .width = 1, .fit = Fit::crop}).pixels, ElementsAre(50));
}

TEST_F(Images, FoldersBecomeClasses) {
  put("set/cat/2.ppm", ppm(1, 1, {10, 20, 30}));
  put("set/cat/deep/1.PNG", png(1, 1, PNG_FORMAT_RGB, {40, 50, 60}));
  put("set/ant/1.jpg", jpeg(8, 8, 100));
  put("set/ant/notes.txt", "not an image");
  const std::string output = folder_ / "out.h5";
  const ImportReport report =
      import_images({.folder = folder_ / "set", .output = output, .height = 1, .width = 1});
  EXPECT_THAT(data::read_text_list(output, "/labels"), ElementsAre("ant", "cat"));
  const auto dataset = data::open_hdf5({.file = output,
                                        .inputs = "/train/images",
                                        .targets = "/train/labels",
                                        .target_kind = data::TargetKind::labels,
                                        .num_classes = 2,
                                        .input_shape = tensor::Shape{1, 1, 3}});
  ASSERT_EQ(dataset->num_rows(), 3);
  std::vector<float> pixels(9);
  std::vector<std::int32_t> labels(3);
  const std::vector<std::int64_t> rows{0, 1, 2};
  dataset->read(rows, pixels.data(), labels.data());
  EXPECT_THAT(labels, ElementsAre(0, 1, 1));
  EXPECT_THAT(pixels, ElementsAre(100, 100, 100, 10, 20, 30, 40, 50, 60));
  EXPECT_THAT(report.notes, ElementsAre("classes: 0 = ant, 1 = cat"));
}

TEST_F(Images, BadImagesEndTheImportOrArePassedOverByName) {
  put("set/a/1.ppm", ppm(1, 1, {1, 2, 3}));
  put("set/a/2.ppm", "P6 broken");
  ImagesOptions options{
      .folder = folder_ / "set", .output = folder_ / "out.h5", .height = 1, .width = 1};
  EXPECT_THAT(error_of([&] { (void)import_images(options); }), HasSubstr("set/a/2.ppm: "));
  EXPECT_FALSE(exists(folder_ / "out.h5"));
  options.skip_bad = true;
  const ImportReport report = import_images(options);
  EXPECT_EQ(report.items[0].shape[0], 1);
  EXPECT_THAT(report.notes.back(), HasSubstr("skipped " + (folder_ / "set/a/2.ppm")));
}

TEST_F(Images, FoldersThatAreNoneAreRefused) {
  const auto refusal = [&](const std::string& folder, const std::string& test = "") {
    return error_of([&] {
      (void)import_images({.folder = folder_ / folder,
                           .test_folder = test.empty() ? "" : folder_ / test,
                           .output = folder_ / "out.h5",
                           .height = 1,
                           .width = 1});
    });
  };
  EXPECT_THAT(refusal("none"), ::testing::StartsWith("66: "));
  put("flat/1.ppm", ppm(1, 1, {1, 2, 3}));
  EXPECT_THAT(refusal("flat"), HasSubstr("expected it in a folder of its class"));
  std::filesystem::create_directories(folder_ / "empty/a");
  EXPECT_THAT(refusal("empty"), HasSubstr("holds no image"));
  put("set/a/1.ppm", ppm(1, 1, {1, 2, 3}));
  put("test/b/1.ppm", ppm(1, 1, {1, 2, 3}));
  EXPECT_THAT(refusal("set", "test"), HasSubstr("test/b: none of the classes of training: a"));
}

}  // namespace
}  // namespace dlt::import_
