// SPDX-License-Identifier: Apache-2.0
#include "data/writer.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/h5_files.h"
#include "data/info.h"

namespace dlt::data {
namespace {

using testing::caught;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::make_h5;
using testing::put;
using testing::put_f32;
using testing::ramp;
using testing::TempDir;

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

std::size_t files_in(const TempDir& dir) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir.file(""))) {
    ++count;
  }
  return count;
}

TEST(Hdf5Writer, GivesTheFileItsNameOnlyAtCommit) {
  const TempDir dir;
  Hdf5Writer writer(dir.file("a.h5"));
  writer.write({.name = "/train/x", .num_rows = 3, .row_shape = {2}}, ramp(6).data());
  EXPECT_FALSE(std::filesystem::exists(dir.file("a.h5")));
  writer.commit();
  EXPECT_TRUE(std::filesystem::exists(dir.file("a.h5")));
  EXPECT_EQ(files_in(dir), 1u);
}

TEST(Hdf5Writer, LeavesNothingBehindWithoutCommit) {
  const TempDir dir;
  {
    Hdf5Writer writer(dir.file("a.h5"));
    writer.write({.name = "/x", .num_rows = 3, .row_shape = {2}}, ramp(6).data());
  }
  EXPECT_EQ(files_in(dir), 0u);
}

TEST(Hdf5Writer, TheSameContentsGiveTheSameBytes) {
  const TempDir dir;
  for (const char* name : {"a.h5", "b.h5"}) {
    Hdf5Writer writer(dir.file(name));
    writer.write({.name = "/g/x", .num_rows = 100, .row_shape = {2}}, ramp(200).data());
    writer.write({.name = "/g/z", .num_rows = 99, .row_shape = {2}, .deflate_level = 5},
                 ramp(198).data());
    writer.commit();
  }
  EXPECT_EQ(bytes_of(dir.file("a.h5")), bytes_of(dir.file("b.h5")));
}

TEST(Hdf5Writer, WritesRowsInPieces) {
  const TempDir dir;
  Hdf5Writer writer(dir.file("a.h5"));
  const int column = writer.add({.name = "/x", .num_rows = 4, .row_shape = {}});
  writer.write_rows(column, 2, 2, ramp(2).data());
  writer.write_rows(column, 0, 2, ramp(2).data());
  writer.commit();
  const FileInfo info = describe(dir.file("a.h5"));
  ASSERT_EQ(info.datasets.size(), 1u);
  EXPECT_THAT(info.datasets[0].shape, ElementsAre(4));
  EXPECT_EQ(info.datasets[0].range->mean, 0.5);
}

TEST(Hdf5Writer, SaysWhyAFileCannotBeWritten) {
  EXPECT_REFUSED(Hdf5Writer("/nowhere/a.h5"), Exit::io, HasSubstr("/nowhere/a.h5"),
                 HasSubstr("No such file or directory"));
  const TempDir dir;
  Hdf5Writer writer(dir.file("a.h5"));
  writer.write({.name = "/x", .num_rows = 1}, ramp(1).data());
  EXPECT_REFUSED(writer.add({.name = "/x", .num_rows = 1}), Exit::usage, HasSubstr("'/x'"));
}

TEST(Info, DescribesShapeTypeStorageAndRange) {
  const TempDir dir;
  Hdf5Writer writer(dir.file("a.h5"));
  std::vector<float> rows = ramp(2000);
  rows[5] = NAN;
  writer.write({.name = "/train/x", .num_rows = 1000, .row_shape = {2}, .deflate_level = 5},
               rows.data());
  const std::vector<std::uint8_t> labels = {3, 1, 2};
  writer.write({.name = "/train/y", .dtype = DType::u8, .num_rows = 3, .row_shape = {}},
               labels.data());
  writer.commit();
  const FileInfo info = describe(dir.file("a.h5"));
  ASSERT_EQ(info.datasets.size(), 2u);
  const DatasetInfo& x = info.datasets[0];
  EXPECT_EQ(x.path, "/train/x");
  EXPECT_EQ(x.type, "f32");
  EXPECT_EQ(x.layout, "chunked");
  EXPECT_THAT(x.filters, ElementsAre("shuffle", "deflate"));
  EXPECT_EQ(x.range->num_non_finite, 1);
  EXPECT_EQ(x.range->max, 1999.0);
  const DatasetInfo& y = info.datasets[1];
  EXPECT_EQ(y.type, "u8");
  EXPECT_EQ(y.range->min, 1.0);
  EXPECT_EQ(y.range->mean, 2.0);
  EXPECT_THAT(to_text(info), ::testing::AllOf(HasSubstr("/train/x"), HasSubstr("[1000, 2]"),
                                              HasSubstr("shuffle+deflate"), HasSubstr("mean 2")));
}

TEST(Info, NamesWhatItDoesNotRead) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    put_f32(f, "/good", {1}, {1});
    put(f, "/huge", H5T_IEEE_F32LE, {hsize_t{1} << 50}, nullptr);
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(plist, "/etc/passwd", 0, 8);
    put(f, "/outside", H5T_STD_U8LE, {8}, nullptr, -1, plist);
    H5Pclose(plist);
    H5Lcreate_external("other.h5", "/x", f, "/link", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_hard(f, "/", f, "/circle", H5P_DEFAULT, H5P_DEFAULT);
  });
  const FileInfo info = describe(dir.file("a.h5"));
  ASSERT_EQ(info.datasets.size(), 3u);
  EXPECT_EQ(info.datasets[0].defect, "");
  EXPECT_THAT(info.datasets[1].defect, HasSubstr("claims"));
  EXPECT_THAT(info.datasets[2].defect, HasSubstr("external storage"));
  EXPECT_THAT(info.skipped, ElementsAre("/link (external link, not followed)"));
}

TEST(Info, RefusesWhatIsNotHdf5) {
  EXPECT_REFUSED(describe("/nowhere.h5"), Exit::missing, HasSubstr("no such file"));
  EXPECT_REFUSED(describe("/tmp"), Exit::data, HasSubstr("directory"));
}

}  // namespace
}  // namespace dlt::data
