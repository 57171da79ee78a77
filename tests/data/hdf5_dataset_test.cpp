// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/dataset.h"
#include "data/h5_files.h"
#include "data/writer.h"

namespace dlt::data {
namespace {

using testing::all_rows;
using testing::caught;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::inputs_only;
using testing::make_h5;
using testing::put;
using testing::put_f32;
using testing::ramp;
using testing::read_inputs;
using testing::TempDir;
using testing::with_labels;

TEST(Hdf5Dataset, ReadsTheRowsAskedFor) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) { put_f32(f, "/x", {5, 2}, ramp(10)); });
  const auto dataset = open_hdf5(inputs_only(dir.file("a.h5")));
  EXPECT_EQ(dataset->num_rows(), 5);
  EXPECT_EQ(dataset->input_shape(), (tensor::Shape{2}));
  EXPECT_TRUE(dataset->in_memory());
  EXPECT_THAT(read_inputs(*dataset, {3, 0, 3}), ElementsAre(6, 7, 0, 1, 6, 7));
}

TEST(Hdf5Dataset, ReadsEveryNumberType) {
  const TempDir dir;
  const hid_t half = H5Tcopy(H5T_IEEE_F32BE);
  H5Tset_fields(half, 15, 10, 5, 0, 10);
  H5Tset_size(half, 2);
  H5Tset_ebias(half, 15);
  const std::vector<hid_t> types = {
      H5T_STD_I8LE,  H5T_STD_U8LE,  H5T_STD_I16LE, H5T_STD_U16LE,  H5T_STD_I32LE,
      H5T_STD_U32LE, H5T_STD_I64LE, H5T_STD_U64LE, H5T_IEEE_F32LE, H5T_IEEE_F64LE,
      H5T_STD_I8BE,  H5T_STD_U8BE,  H5T_STD_I16BE, H5T_STD_U16BE,  H5T_STD_I32BE,
      H5T_STD_U32BE, H5T_STD_I64BE, H5T_STD_U64BE, H5T_IEEE_F32BE, H5T_IEEE_F64BE,
      half};
  const std::vector<double> values = {0, 1, 100, 3, 127, 64};
  for (std::size_t i = 0; i < types.size(); ++i) {
    const std::string path = dir.file("t" + std::to_string(i) + ".h5");
    make_h5(path, [&](hid_t f) {
      put(f, "/x", types[i], {3, 2}, values.data(), H5T_NATIVE_DOUBLE);
    });
    for (const std::int64_t cache_bytes : {0, 1 << 20}) {
      DatasetOptions options = inputs_only(path);
      options.cache_bytes = cache_bytes;
      const auto dataset = open_hdf5(options);
      EXPECT_EQ(dataset->in_memory(), cache_bytes > 0);
      EXPECT_THAT(read_inputs(*dataset, {0, 1, 2}), ElementsAre(0, 1, 100, 3, 127, 64)) << i;
    }
  }
  H5Tclose(half);
}

TEST(Hdf5Dataset, ReadsNegativeNumbers) {
  const TempDir dir;
  const std::vector<double> values = {-1, -128};
  for (const hid_t type : {H5T_STD_I8LE, H5T_STD_I16BE, H5T_STD_I32LE, H5T_STD_I64BE}) {
    make_h5(dir.file("a.h5"),
            [&](hid_t f) { put(f, "/x", type, {2}, values.data(), H5T_NATIVE_DOUBLE); });
    EXPECT_THAT(read_inputs(*open_hdf5(inputs_only(dir.file("a.h5"))), {0, 1}),
                ElementsAre(-1, -128));
  }
}

TEST(Hdf5Dataset, ScalesInF64WithoutFusing) {
  const TempDir dir;
  std::vector<double> bytes(256);
  std::iota(bytes.begin(), bytes.end(), 0.0);
  for (const hid_t type : {H5T_STD_U8LE, H5T_STD_I16LE, H5T_IEEE_F32LE, H5T_IEEE_F64LE}) {
    make_h5(dir.file("a.h5"),
            [&](hid_t f) { put(f, "/x", type, {256}, bytes.data(), H5T_NATIVE_DOUBLE); });
    DatasetOptions options = inputs_only(dir.file("a.h5"));
    options.scale = 1.0 / 255;
    options.offset = -0.1307;
    const auto dataset = open_hdf5(options);
    const std::vector<float> got = read_inputs(*dataset, all_rows(*dataset));
    for (std::size_t i = 0; i < 256; ++i) {
      volatile double product = static_cast<double>(i) * options.scale;
      volatile double sum = product + options.offset;
      ASSERT_EQ(got[i], static_cast<float>(sum)) << i;
    }
  }
}

TEST(Hdf5Dataset, ReadsLabelsOfAnyTypeAndShape) {
  const TempDir dir;
  const std::vector<double> labels = {2, 0, 1};
  for (const hid_t type : {H5T_STD_U8LE, H5T_STD_I64BE, H5T_IEEE_F32LE, H5T_IEEE_F64BE}) {
    for (const std::vector<hsize_t>& dims : {std::vector<hsize_t>{3}, std::vector<hsize_t>{3, 1}}) {
      make_h5(dir.file("a.h5"), [&](hid_t f) {
        put_f32(f, "/x", {3, 1}, ramp(3));
        put(f, "/y", type, dims, labels.data(), H5T_NATIVE_DOUBLE);
      });
      for (const std::int64_t cache_bytes : {0, 1 << 20}) {
        DatasetOptions options = with_labels(dir.file("a.h5"), 3);
        options.cache_bytes = cache_bytes;
        const auto dataset = open_hdf5(options);
        std::vector<float> inputs(3);
        std::vector<std::int32_t> targets(3);
        const std::vector<std::int64_t> rows = {2, 1, 0};
        dataset->read(rows, inputs.data(), targets.data());
        EXPECT_THAT(targets, ElementsAre(1, 0, 2));
        EXPECT_EQ(dataset->target_shape(), tensor::Shape{});
      }
    }
  }
}

TEST(Hdf5Dataset, ReadsValueTargets) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    put_f32(f, "/x", {3, 2}, ramp(6));
    put_f32(f, "/y", {3}, {10, 11, 12});
  });
  DatasetOptions options = inputs_only(dir.file("a.h5"));
  options.targets = "/y";
  options.scale = 2.0;
  options.target_shape = tensor::Shape{1};
  const auto dataset = open_hdf5(options);
  std::vector<float> inputs(4), targets(2);
  const std::vector<std::int64_t> rows = {2, 0};
  dataset->read(rows, inputs.data(), targets.data());
  EXPECT_THAT(inputs, ElementsAre(8, 10, 0, 2));
  EXPECT_THAT(targets, ElementsAre(12, 10));
}

TEST(Hdf5Dataset, ReadsTheSameFromDiskAndMemory) {
  const TempDir dir;
  Hdf5Writer writer(dir.file("a.h5"));
  std::vector<float> rows = ramp(1000 * 7);
  writer.write({.name = "/x", .num_rows = 1000, .row_shape = {7}, .deflate_level = 4}, rows.data());
  writer.commit();
  DatasetOptions options = inputs_only(dir.file("a.h5"));
  const auto memory = open_hdf5(options);
  options.cache_bytes = 0;
  const auto disk = open_hdf5(options);
  EXPECT_FALSE(disk->in_memory());
  const std::vector<std::int64_t> some = {999, 5, 6, 7, 7, 0, 500, 4};
  EXPECT_EQ(read_inputs(*memory, some), read_inputs(*disk, some));
}

TEST(Hdf5Dataset, FollowsSoftLinksInsideTheFile) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    put_f32(f, "/deep/data", {2, 1}, {5, 6});
    H5Lcreate_soft("deep/data", f, "/x", H5P_DEFAULT, H5P_DEFAULT);
  });
  EXPECT_THAT(read_inputs(*open_hdf5(inputs_only(dir.file("a.h5"))), {0, 1}), ElementsAre(5, 6));
}

TEST(Hdf5Dataset, TakesShapesThatDifferOnlyBySizesOfOneOrFlatness) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) { put_f32(f, "/x", {2, 4, 3}, ramp(24)); });
  DatasetOptions options = inputs_only(dir.file("a.h5"));
  for (const tensor::Shape& shape :
       {tensor::Shape{4, 3}, tensor::Shape{4, 3, 1}, tensor::Shape{12}, tensor::Shape{1, 4, 3}}) {
    options.input_shape = shape;
    EXPECT_NO_THROW((void)open_hdf5(options)) << shape.text();
  }
  options.input_shape = tensor::Shape{3, 4};
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("'/x'"), HasSubstr("[4, 3]"),
                 HasSubstr("[3, 4]"));
}

TEST(Hdf5Dataset, FingerprintIsOfTheContentsNotOfThePath) {
  const TempDir dir;
  const auto make = [&](const std::string& name, float last) {
    make_h5(dir.file(name), [&](hid_t f) { put_f32(f, "/x", {2, 1}, {1, last}); });
    return open_hdf5(inputs_only(dir.file(name)))->fingerprint();
  };
  EXPECT_EQ(make("a.h5", 2), make("b.h5", 2));
  EXPECT_NE(make("a.h5", 2), make("b.h5", 3));
}

TEST(Hdf5Dataset, OpensTheDigitsThatShip) {
  DatasetOptions options = with_labels("datasets/digits.h5", 10);
  options.inputs = "/train/images";
  options.targets = "/train/labels";
  options.input_shape = tensor::Shape{8, 8, 1};
  const auto train = open_hdf5(options);
  EXPECT_EQ(train->num_rows(), 1437);
  options.inputs = "/test/images";
  options.targets = "/test/labels";
  EXPECT_EQ(open_hdf5(options)->num_rows(), 360);
}

}  // namespace
}  // namespace dlt::data
