// SPDX-License-Identifier: Apache-2.0
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

std::string idx(int type, const std::vector<int>& dims, const std::string& numbers) {
  std::string out = {'\0', '\0', static_cast<char>(type), static_cast<char>(dims.size())};
  for (const int size : dims) {
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(size >> shift);
  }
  return out + numbers;
}

IdxOptions small(const TempDir& dir) {
  IdxOptions options;
  options.train_images = dir.put("i", idx(8, {2, 2, 1}, "\x01\x02\x03\xff"));
  options.train_labels = dir.put("l", idx(8, {2}, "\x07\x02"));
  options.output = dir.file("out.h5");
  return options;
}

TEST(Idx, ImportsImagesAndLabels) {
  const TempDir dir;
  IdxOptions options = small(dir);
  options.test_images = options.train_images;
  options.test_labels = options.train_labels;
  const ImportReport report = import_idx(options);
  ASSERT_EQ(report.items.size(), 4u);
  EXPECT_EQ(report.items[0].name, "/train/images");
  EXPECT_EQ(report.items[0].type, "u8");
  EXPECT_THAT(report.items[0].shape, ElementsAre(2, 2, 1, 1));
  const Table images = read_table(options.output, "/test/images");
  EXPECT_EQ(images.shape, (tensor::Shape{2, 1, 1}));
  EXPECT_THAT(images.numbers, ElementsAre(1, 2, 3, 255));
  EXPECT_THAT(read_table(options.output, "/train/labels").numbers, ElementsAre(7, 2));
}

TEST(Idx, ReadsGzip) {
  const TempDir dir;
  IdxOptions options = small(dir);
  options.train_images = dir.put_gz("i.gz", idx(8, {2, 2, 1}, "\x01\x02\x03\x04"));
  (void)import_idx(options);
  EXPECT_THAT(read_table(options.output, "/train/images").numbers, ElementsAre(1, 2, 3, 4));
}

TEST(Idx, SwapsWiderNumbers) {
  const TempDir dir;
  IdxOptions options = small(dir);
  options.train_images = dir.put("i", idx(0x0B, {2, 1}, std::string("\x01\x02\xff\xfe", 4)));
  (void)import_idx(options);
  EXPECT_THAT(read_table(options.output, "/train/images").numbers, ElementsAre(258, -2));
}

TEST(Idx, SplitsTestRowsOff) {
  const TempDir dir;
  IdxOptions options;
  std::string numbers;
  for (int i = 0; i < 100; ++i) numbers += static_cast<char>(i);
  options.train_images = dir.put("i", idx(8, {100, 1, 1}, numbers));
  options.train_labels = dir.put("l", idx(8, {100}, numbers));
  options.output = dir.file("out.h5");
  options.split.test_fraction = 0.2;
  (void)import_idx(options);
  const Table test = read_table(options.output, "/test/images");
  EXPECT_EQ(test.rows, 20);
  EXPECT_EQ(test.numbers, read_table(options.output, "/test/labels").numbers);
  EXPECT_TRUE(std::is_sorted(test.numbers.begin(), test.numbers.end()));
  EXPECT_EQ(read_table(options.output, "/train/images").rows, 80);
}

TEST(Idx, RefusesWhatIsMissingOrMalformed) {
  const TempDir dir;
  const auto with_images = [&](const std::string& bytes) {
    IdxOptions options = small(dir);
    options.train_images = dir.put("bad", bytes);
    return import_idx(options);
  };
  IdxOptions gone = small(dir);
  gone.train_images = dir.file("nowhere");
  EXPECT_REFUSED(import_idx(gone), Exit::missing, HasSubstr("nowhere: no such file"));
  gone.train_images = dir.file("");
  EXPECT_REFUSED(import_idx(gone), Exit::data, HasSubstr("not a regular file"));
  EXPECT_REFUSED(with_images(""), Exit::data, HasSubstr("bad: not an IDX file"));
  EXPECT_REFUSED(with_images("x,y\n1,2\n"), Exit::data, HasSubstr("not an IDX file"));
  EXPECT_REFUSED(with_images(idx(0x0A, {1}, "1")), Exit::data, HasSubstr("0x0a"));
  EXPECT_REFUSED(with_images(idx(8, std::vector<int>(9, 1), "1")), Exit::data,
                 HasSubstr("9 sizes"));
  EXPECT_REFUSED(with_images(idx(8, {2, 2, 2}, "1234567")), Exit::data,
                 HasSubstr("ends at byte 23"), HasSubstr("8 bytes from byte 16"));
  EXPECT_REFUSED(with_images(idx(8, {2, 2, 2}, "123456789")), Exit::data,
                 HasSubstr("goes on after byte 24"));
  EXPECT_REFUSED(with_images(idx(8, {2, 0, 2}, "")), Exit::data, HasSubstr("byte 8: size 0"));
  EXPECT_REFUSED(with_images(std::string("\0\0\x08\x03\0\0", 6)), Exit::data,
                 HasSubstr("the sizes"));
  EXPECT_REFUSED(with_images(idx(8, {2}, "12")), Exit::data, HasSubstr("expected images"));
  EXPECT_REFUSED(with_images(idx(8, {3, 1, 1}, "123")), Exit::data, HasSubstr("has 2 labels"),
                 HasSubstr("has 3 images"));
}

TEST(Idx, HugeClaimsCostNoMemory) {
  const TempDir dir;
  IdxOptions options = small(dir);
  options.train_images = dir.put("i", idx(8, {0x7fffffff, 0x7fffffff, 0x7fffffff}, "1"));
  EXPECT_REFUSED(import_idx(options), Exit::data, HasSubstr("more data than any file holds"));
  options.train_images = dir.put("i", idx(8, {0x7fffffff, 16, 1}, "1"));
  EXPECT_REFUSED(import_idx(options), Exit::data, HasSubstr("ends at byte 17"));
}

TEST(Idx, RefusesDamagedGzip) {
  const TempDir dir;
  IdxOptions options = small(dir);
  std::string noise;
  for (int i = 0; i < 5000; ++i) noise += static_cast<char>(i * i / 7);
  options.train_images = dir.put_gz("i.gz", idx(8, {50, 10, 10}, noise));
  std::filesystem::resize_file(options.train_images,
                               std::filesystem::file_size(options.train_images) - 20);
  EXPECT_REFUSED(import_idx(options), Exit::data, HasSubstr("i.gz"), HasSubstr("cut short"));
}

TEST(Idx, LeavesNoFileBehindWhenItFails) {
  const TempDir dir;
  IdxOptions options = small(dir);
  options.test_images = dir.put("ti", idx(8, {1, 9, 9}, std::string(81, 'x')));
  options.test_labels = dir.put("tl", idx(8, {1}, "1"));
  EXPECT_REFUSED(import_idx(options), Exit::data, HasSubstr("[9, 9, 1]"), HasSubstr("[2, 1, 1]"));
  EXPECT_EQ(dir.num_files(), 4u);
}

TEST(Idx, RefusesOptionsThatMakeNoSense) {
  const TempDir dir;
  IdxOptions options = small(dir);
  options.test_images = options.train_images;
  EXPECT_REFUSED(import_idx(options), Exit::usage, HasSubstr("go together"));
  options = small(dir);
  options.output = options.train_images;
  EXPECT_REFUSED(import_idx(options), Exit::usage, HasSubstr("input and output"));
  options = small(dir);
  options.split.test_fraction = 1.5;
  EXPECT_REFUSED(import_idx(options), Exit::usage, HasSubstr("1.5"));
  options.split.test_fraction = 0.1;
  EXPECT_REFUSED(import_idx(options), Exit::usage, HasSubstr("no test"));
}

TEST(Idx, ImportsMnistWhereItIs) {
  const std::string folder = "../shared/datasets/mnist/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no MNIST files in " << folder;
  const TempDir dir;
  IdxOptions options;
  options.train_images = folder + "t10k-images-idx3-ubyte.gz";
  options.train_labels = folder + "t10k-labels-idx1-ubyte.gz";
  options.output = dir.file("mnist.h5");
  (void)import_idx(options);
  const Table images = read_table(options.output, "/train/images");
  EXPECT_EQ(images.rows, 10000);
  EXPECT_EQ(images.shape, (tensor::Shape{28, 28, 1}));
  const Table labels = read_table(options.output, "/train/labels");
  EXPECT_EQ(labels.numbers[0], 7.0f);
  EXPECT_EQ(labels.numbers[1], 2.0f);
}

}  // namespace
}  // namespace dlt::import_
