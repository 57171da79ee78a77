// SPDX-License-Identifier: Apache-2.0
// Token inputs, labels a position, windows over one long array, channels first.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/dataset.h"
#include "data/h5_files.h"
#include "data/loader.h"

namespace dlt::data {
namespace {

using testing::all_rows;
using testing::caught;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::make_h5;
using testing::put;
using testing::put_f32;
using testing::ramp;
using testing::read_inputs;
using testing::TempDir;

constexpr std::int64_t kCached = 1 << 20;

void put_u8(hid_t file, const std::string& name, const std::vector<hsize_t>& dims,
            const std::vector<int>& values) {
  put(file, name, H5T_STD_U8LE, dims, values.data(), H5T_NATIVE_INT);
}

std::string token_file(const TempDir& dir, const std::vector<int>& tokens) {
  const std::string path = dir.file("t.h5");
  make_h5(path, [&](hid_t f) { put_u8(f, "/tokens", {tokens.size()}, tokens); });
  return path;
}

DatasetOptions next_tokens(const std::string& file, Window window) {
  DatasetOptions options;
  options.file = file;
  options.inputs = "/tokens";
  options.input_kind = InputKind::tokens;
  options.num_tokens = 10;
  options.window = window;
  options.targets_are_next = true;
  options.target_kind = TargetKind::labels;
  options.num_classes = 10;
  options.target_shape = tensor::Shape{window.length};
  return options;
}

struct Both {
  std::vector<std::int32_t> inputs, targets;
};
Both read_both(const Dataset& dataset, const std::vector<std::int64_t>& rows) {
  Both out;
  out.inputs.resize(rows.size() * static_cast<std::size_t>(dataset.input_shape().numel()));
  out.targets.resize(rows.size() * static_cast<std::size_t>(dataset.target_shape().numel()));
  dataset.read(rows, out.inputs.data(), out.targets.data());
  return out;
}

TEST(Windows, AreComputedFromOneArray) {
  const TempDir dir;
  const std::string file = token_file(dir, {0, 1, 2, 3, 4, 5, 6, 7});
  for (const std::int64_t cache_bytes : {std::int64_t{0}, kCached}) {
    DatasetOptions options = next_tokens(file, {.length = 3, .stride = 1});
    options.cache_bytes = cache_bytes;
    const auto dataset = open_hdf5(options);
    EXPECT_EQ(dataset->num_rows(), 5);
    EXPECT_EQ(dataset->input_shape(), (tensor::Shape{3}));
    const Both got = read_both(*dataset, {4, 0, 1});
    EXPECT_THAT(got.inputs, ElementsAre(4, 5, 6, 0, 1, 2, 1, 2, 3));
    EXPECT_THAT(got.targets, ElementsAre(5, 6, 7, 1, 2, 3, 2, 3, 4));
  }
}

TEST(Windows, StepByTheirStrideAndLeaveOutWhatIsShort) {
  const TempDir dir;
  const std::string file = token_file(dir, {0, 1, 2, 3, 4, 5, 6, 7, 8});
  for (const std::int64_t cache_bytes : {std::int64_t{0}, kCached}) {
    DatasetOptions options = next_tokens(file, {.length = 3, .stride = 3});
    options.cache_bytes = cache_bytes;
    const auto dataset = open_hdf5(options);
    ASSERT_EQ(dataset->num_rows(), 2);  // 6 7 8 has no token after it
    EXPECT_THAT(read_both(*dataset, {1, 0}).targets, ElementsAre(4, 5, 6, 1, 2, 3));
  }
  DatasetOptions options = next_tokens(file, {.length = 3, .stride = 3});
  options.targets_are_next = false;  // prediction: nothing need follow
  EXPECT_EQ(open_hdf5(options)->num_rows(), 3);
}

TEST(Windows, GiveOnlyTheRowAfterWhereTheLossWantsOne) {
  const TempDir dir;
  const std::string file = token_file(dir, {0, 1, 2, 3, 4, 5});
  for (const std::int64_t cache_bytes : {std::int64_t{0}, kCached}) {
    DatasetOptions options = next_tokens(file, {.length = 3, .stride = 1});
    options.target_shape = tensor::Shape{};
    options.cache_bytes = cache_bytes;
    const auto dataset = open_hdf5(options);
    EXPECT_EQ(dataset->num_rows(), 3);
    EXPECT_THAT(read_both(*dataset, {2, 0}).targets, ElementsAre(5, 3));
  }
}

TEST(Windows, TakeRowsOfSeveralNumbersAndTargetsOfTheirOwn) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    put_f32(f, "/x", {4, 2}, ramp(8));
    put_u8(f, "/y", {4}, {3, 2, 1, 0});
  });
  for (const std::int64_t cache_bytes : {std::int64_t{0}, kCached}) {
    DatasetOptions options = testing::with_labels(dir.file("a.h5"), 4);
    options.window = Window{.length = 2, .stride = 1};
    options.input_shape = tensor::Shape{2, 2};
    options.target_shape = tensor::Shape{2};
    options.cache_bytes = cache_bytes;
    const auto dataset = open_hdf5(options);
    ASSERT_EQ(dataset->num_rows(), 3);
    std::vector<float> inputs(8);
    std::vector<std::int32_t> targets(4);
    const std::vector<std::int64_t> rows = {2, 0};
    dataset->read(rows, inputs.data(), targets.data());
    EXPECT_THAT(inputs, ElementsAre(4, 5, 6, 7, 0, 1, 2, 3));
    EXPECT_THAT(targets, ElementsAre(1, 0, 3, 2));
  }
}

TEST(Windows, RefuseAnArrayShorterThanOne) {
  const TempDir dir;
  const std::string file = token_file(dir, {0, 1, 2});
  EXPECT_REFUSED(open_hdf5(next_tokens(file, {.length = 3, .stride = 1})), Exit::data,
                 HasSubstr("'/tokens' has 3 rows"), HasSubstr("at least 4"),
                 HasSubstr("window of 3"));
}

TEST(Windows, AreLoadedAsLeaves) {
  const TempDir dir;
  const auto dataset =
      open_hdf5(next_tokens(token_file(dir, {0, 1, 2, 3, 4, 5}), {.length = 2, .stride = 1}));
  const Sampler sampler({.num_rows = 4, .global_batch_size = 3, .shuffle = false});
  Loader loader(*dataset, sampler, {.end_step = 2, .num_threads = 0});
  (void)loader.next();
  const LeafBatch& last = loader.next();
  ASSERT_EQ(last.count, 1);
  const auto* const inputs = static_cast<const std::int32_t*>(last.inputs);
  const auto* const targets = static_cast<const std::int32_t*>(last.targets);
  EXPECT_EQ(std::vector<int>(inputs, inputs + 6), (std::vector<int>{3, 4, 3, 4, 3, 4}));
  EXPECT_EQ(std::vector<int>(targets, targets + 6), (std::vector<int>{4, 5, 4, 5, 4, 5}));
}

TEST(Tokens, OutOfRangeNameTheirPlace) {
  const TempDir dir;
  const std::string flat = token_file(dir, {0, 1, 2, 3, 70, 5});
  DatasetOptions options = next_tokens(flat, {.length = 2, .stride = 1});
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("'/tokens' row 4: token 70"),
                 HasSubstr("expected 0 to 9"));
  options.cache_bytes = 0;
  const auto disk = open_hdf5(options);
  EXPECT_NO_THROW((void)read_both(*disk, {0, 1}));
  // As an input in row 3 ..., and before that as a target of row 2.
  EXPECT_REFUSED(read_both(*disk, {2}), Exit::data, HasSubstr("row 4: label 70"));
  EXPECT_REFUSED(read_both(*disk, {3}), Exit::data, HasSubstr("row 4: token 70"));

  make_h5(dir.file("rows.h5"), [](hid_t f) { put_u8(f, "/tokens", {2, 3}, {0, 1, 2, 3, 4, 10}); });
  DatasetOptions rows;
  rows.file = dir.file("rows.h5");
  rows.inputs = "/tokens";
  rows.input_kind = InputKind::tokens;
  rows.num_tokens = 10;
  EXPECT_REFUSED(open_hdf5(rows), Exit::data, HasSubstr("row 1 element 2: token 10"));
  rows.cache_bytes = 0;
  const auto unchecked = open_hdf5(rows);
  std::vector<std::int32_t> out(3);
  const std::vector<std::int64_t> last = {1};
  EXPECT_REFUSED(unchecked->read(last, out.data(), nullptr), Exit::data,
                 HasSubstr("row 1 element 2: token 10"));
}

TEST(Tokens, AreReadFromEveryNumberTypeAndMustBeWhole) {
  const TempDir dir;
  const std::vector<double> values = {4, 0, 9, 1};
  for (const hid_t type : {H5T_STD_U8LE, H5T_STD_U16BE, H5T_STD_I32LE, H5T_STD_U32LE, H5T_STD_I64LE,
                           H5T_STD_U64BE, H5T_IEEE_F32LE, H5T_IEEE_F64BE}) {
    make_h5(dir.file("a.h5"),
            [&](hid_t f) { put(f, "/tokens", type, {4}, values.data(), H5T_NATIVE_DOUBLE); });
    const auto dataset = open_hdf5(next_tokens(dir.file("a.h5"), {.length = 3, .stride = 1}));
    EXPECT_THAT(read_both(*dataset, {0}).inputs, ElementsAre(4, 0, 9));
  }
  const std::vector<double> broken = {4, 0.5, 9, 1};
  make_h5(dir.file("b.h5"), [&](hid_t f) {
    put(f, "/tokens", H5T_IEEE_F64LE, {4}, broken.data(), H5T_NATIVE_DOUBLE);
  });
  EXPECT_REFUSED(open_hdf5(next_tokens(dir.file("b.h5"), {.length = 3, .stride = 1})), Exit::data,
                 HasSubstr("row 1: token 0.5"));
}

TEST(SequenceLabels, MayBeIgnoredWhereTheLossAllowsIt) {
  const TempDir dir;
  const std::vector<int> labels = {1, -1, 0, 2, -1, -1};
  make_h5(dir.file("a.h5"), [&](hid_t f) {
    put_f32(f, "/x", {2, 3}, ramp(6));
    put(f, "/y", H5T_STD_I16LE, {2, 3}, labels.data(), H5T_NATIVE_INT);
  });
  for (const std::int64_t cache_bytes : {std::int64_t{0}, kCached}) {
    DatasetOptions options = testing::with_labels(dir.file("a.h5"), 3);
    options.target_shape = tensor::Shape{3};
    options.allows_ignored = true;
    options.cache_bytes = cache_bytes;
    const auto dataset = open_hdf5(options);
    EXPECT_EQ(dataset->target_shape(), (tensor::Shape{3}));
    EXPECT_THAT(read_both(*dataset, {1, 0}).targets, ElementsAre(2, -1, -1, 1, -1, 0));
    options.allows_ignored = false;
    EXPECT_REFUSED(read_both(*open_hdf5(options), {0}), Exit::data,
                   HasSubstr("'/y' row 0 element 1: label -1"), HasSubstr("expected 0 to 2"));
  }
}

TEST(SequenceLabels, MustHaveTheShapeOfTheLoss) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    put_f32(f, "/x", {2, 3}, ramp(6));
    put_u8(f, "/y", {2, 2}, {0, 0, 0, 0});
  });
  DatasetOptions options = testing::with_labels(dir.file("a.h5"), 3);
  options.target_shape = tensor::Shape{3};
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("'/y'"), HasSubstr("[2]"),
                 HasSubstr("class labels of shape [3]"));
}

TEST(Nchw, IsTurnedToChannelsLast) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) { put_f32(f, "/x", {2, 2, 3, 2}, ramp(24)); });
  for (const std::int64_t cache_bytes : {std::int64_t{0}, kCached}) {
    DatasetOptions options = testing::inputs_only(dir.file("a.h5"));
    options.layout = Layout::nchw;
    options.input_shape = tensor::Shape{3, 2, 2};
    options.scale = 2.0;
    options.cache_bytes = cache_bytes;
    const auto dataset = open_hdf5(options);
    EXPECT_EQ(dataset->input_shape(), (tensor::Shape{3, 2, 2}));
    EXPECT_THAT(read_inputs(*dataset, {1}),
                ElementsAre(24, 36, 26, 38, 28, 40, 30, 42, 32, 44, 34, 46));
    options.input_shape = tensor::Shape{2, 3, 2};
    EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("[3, 2, 2]"), HasSubstr("[2, 3, 2]"));
  }
}

TEST(Nchw, TurnsLargeImagesBlockByBlock) {
  const TempDir dir;
  constexpr hsize_t kSide = 33;
  make_h5(dir.file("a.h5"), [&](hid_t f) {
    put_f32(f, "/x", {1, 3, kSide, kSide}, ramp(3 * kSide * kSide));
  });
  DatasetOptions options = testing::inputs_only(dir.file("a.h5"));
  options.layout = Layout::nchw;
  const std::vector<float> got = read_inputs(*open_hdf5(options), {0});
  for (std::size_t pixel = 0; pixel < kSide * kSide; ++pixel) {
    for (std::size_t c = 0; c < 3; ++c) {
      ASSERT_EQ(got[pixel * 3 + c], static_cast<float>(c * kSide * kSide + pixel));
    }
  }
}

TEST(Nchw, NamesANumberThatIsNotFiniteByItsPlaceInTheFile) {
  const TempDir dir;
  std::vector<float> values = ramp(12);
  values[10] = std::numeric_limits<float>::infinity();
  make_h5(dir.file("a.h5"), [&](hid_t f) { put_f32(f, "/x", {1, 2, 3, 2}, values); });
  DatasetOptions options = testing::inputs_only(dir.file("a.h5"));
  options.layout = Layout::nchw;
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("row 0: element 10 is inf"));
  options.cache_bytes = 0;
  const auto disk = open_hdf5(options);
  EXPECT_REFUSED(read_inputs(*disk, {0}), Exit::data, HasSubstr("row 0: element 10 is inf"));
}

}  // namespace
}  // namespace dlt::data
