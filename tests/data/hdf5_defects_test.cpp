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

TEST(Hdf5Defects, NoSuchFile) {
  EXPECT_REFUSED(open_hdf5(inputs_only("/nowhere/a.h5")), Exit::missing,
                 HasSubstr("/nowhere/a.h5: no such file"));
}

TEST(Hdf5Defects, NotHdf5) {
  const TempDir dir;
  FILE* file = fopen(dir.file("a.h5").c_str(), "w");
  fputs("x,y\n1,2\n", file);
  fclose(file);
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data, HasSubstr("not an HDF5"));
  fclose(fopen(dir.file("b.h5").c_str(), "w"));
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("b.h5"))), Exit::data, HasSubstr("is empty"));
  EXPECT_REFUSED(open_hdf5(inputs_only("/tmp")), Exit::data, HasSubstr("is a directory"));
}

TEST(Hdf5Defects, FifoIsRefusedWithoutWaiting) {
  const TempDir dir;
  ASSERT_EQ(::mkfifo(dir.file("a.h5").c_str(), 0600), 0);
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data,
                 HasSubstr("not a regular file"));
}

TEST(Hdf5Defects, CutShort) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) { put_f32(f, "/x", {1000, 1}, ramp(1000)); });
  std::filesystem::resize_file(dir.file("a.h5"), 3000);
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data, HasSubstr("a.h5"),
                 HasSubstr("cut short"), HasSubstr("truncated"));
}

TEST(Hdf5Defects, MissingDataSetListsThoseThereAndTheNearest) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    put_f32(f, "/train/images", {1, 1}, {1});
    put_f32(f, "/train/labels", {1, 1}, {1});
  });
  DatasetOptions options = inputs_only(dir.file("a.h5"));
  options.inputs = "/train/image";
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("no data set '/train/image'"),
                 HasSubstr("/train/images, /train/labels"),
                 HasSubstr("did you mean '/train/images'?"));
  options.inputs = "/train";
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("'/train' is a group"),
                 HasSubstr("/train/images"));
  options.inputs = "/train/images/deeper";
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("/train/images/deeper"));
}

TEST(Hdf5Defects, ExternalLinkIsNotFollowed) {
  const TempDir dir;
  make_h5(dir.file("other.h5"), [](hid_t f) { put_f32(f, "/g/x", {1, 1}, {1}); });
  make_h5(dir.file("a.h5"), [](hid_t f) {
    H5Lcreate_external("other.h5", "/g/x", f, "/x", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/g", f, "/g", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/g/x", f, "/soft", H5P_DEFAULT, H5P_DEFAULT);
  });
  DatasetOptions options = inputs_only(dir.file("a.h5"));
  for (const char* name : {"/x", "/g/x", "/soft"}) {
    options.inputs = name;
    EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr(name), HasSubstr("external link"));
  }
}

TEST(Hdf5Defects, SoftLinksInACircle) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    H5Lcreate_soft("/z", f, "/x", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/x", f, "/z", H5P_DEFAULT, H5P_DEFAULT);
  });
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data, HasSubstr("circle"));
}

TEST(Hdf5Defects, ExternalStorage) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [&](hid_t f) {
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(plist, "/etc/passwd", 0, 8);
    put(f, "/x", H5T_STD_U8LE, {8}, nullptr, -1, plist);
    H5Pclose(plist);
  });
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data, HasSubstr("'/x'"),
                 HasSubstr("external storage"));
}

TEST(Hdf5Defects, VirtualDataSet) {
  const TempDir dir;
  make_h5(dir.file("source.h5"), [](hid_t f) { put_f32(f, "/s", {4}, ramp(4)); });
  make_h5(dir.file("a.h5"), [&](hid_t f) {
    const hsize_t dims[1] = {4};
    const hid_t space = H5Screate_simple(1, dims, nullptr);
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_virtual(plist, space, dir.file("source.h5").c_str(), "/s", space);
    put(f, "/x", H5T_IEEE_F32LE, {4}, nullptr, -1, plist);
    H5Pclose(plist);
    H5Sclose(space);
  });
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data, HasSubstr("'/x'"),
                 HasSubstr("virtual"));
}

TEST(Hdf5Defects, PluginFilter) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    const hsize_t chunk[1] = {4};
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(plist, 1, chunk);
    H5Pset_filter(plist, 32001, H5Z_FLAG_OPTIONAL, 0, nullptr);  // blosc, not loaded
    put_f32(f, "/ok", {1}, {1});
    put(f, "/x", H5T_IEEE_F32LE, {4}, nullptr, -1, plist);
    H5Pclose(plist);
  });
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data, HasSubstr("'/x'"),
                 HasSubstr("32001"), HasSubstr("plug-in"));
}

TEST(Hdf5Defects, AllowedFiltersAreRead) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    const hsize_t chunk[1] = {16};
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(plist, 1, chunk);
    H5Pset_shuffle(plist);
    H5Pset_deflate(plist, 6);
    H5Pset_fletcher32(plist);
    put(f, "/x", H5T_STD_I32LE, {20}, std::vector<int>(20, 7).data(), H5T_NATIVE_INT, plist);
    H5Pclose(plist);
  });
  EXPECT_THAT(read_inputs(*open_hdf5(inputs_only(dir.file("a.h5"))), {0, 19}), ElementsAre(7, 7));
}

TEST(Hdf5Defects, TypesThatAreNotNumbers) {
  const TempDir dir;
  const hid_t compound = H5Tcreate(H5T_COMPOUND, 8);
  H5Tinsert(compound, "a", 0, H5T_STD_I32LE);
  H5Tinsert(compound, "b", 4, H5T_STD_I32LE);
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 8);
  const hid_t long_text = H5Tcopy(H5T_C_S1);
  H5Tset_size(long_text, H5T_VARIABLE);
  const hid_t names = H5Tenum_create(H5T_STD_I8LE);
  const std::int8_t one = 1;
  H5Tenum_insert(names, "TRUE", &one);
  const hid_t lists = H5Tvlen_create(H5T_STD_I32LE);
  const hsize_t three[1] = {3};
  const hid_t array = H5Tarray_create2(H5T_STD_I32LE, 1, three);
  const hid_t odd = H5Tcopy(H5T_STD_I32LE);
  H5Tset_precision(odd, 24);
  const std::vector<std::pair<hid_t, std::string>> cases = {
      {compound, "compound of 2 fields"},
      {text, "string"},
      {long_text, "string"},
      {H5T_STD_B8LE, "bitfield"},
      {H5T_STD_REF_OBJ, "reference"},
      {lists, "variable-length"},
      {array, "array"},
      {odd, "32-bit integer of an unusual layout"},
      {names, "enumeration of 1 names"},
      {H5T_NATIVE_LDOUBLE, "128-bit float of an unusual layout"}};
  for (const auto& [type, word] : cases) {
    make_h5(dir.file("a.h5"), [&, stored = type](hid_t f) {
      const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
      H5Pset_alloc_time(plist, H5D_ALLOC_TIME_EARLY);
      put(f, "/x", stored, {2}, nullptr, -1, plist);
      H5Pclose(plist);
    });
    EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data, HasSubstr("'/x'"),
                   HasSubstr(word), HasSubstr("expected integers or floats"));
  }
  for (const hid_t type : {compound, text, long_text, lists, array, odd, names}) H5Tclose(type);
}

TEST(Hdf5Defects, ScalarsAndNoRows) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    const hid_t scalar = H5Screate(H5S_SCALAR);
    H5Dclose(
        H5Dcreate2(f, "/scalar", H5T_IEEE_F32LE, scalar, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(scalar);
    put(f, "/none", H5T_IEEE_F32LE, {0, 4}, nullptr);
    put(f, "/flat", H5T_IEEE_F32LE, {4, 0}, nullptr);
  });
  DatasetOptions options = inputs_only(dir.file("a.h5"));
  options.inputs = "/scalar";
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("'/scalar' is a scalar"));
  options.inputs = "/none";
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("no rows"), HasSubstr("[0, 4]"));
  options.inputs = "/flat";
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("no rows"), HasSubstr("[4, 0]"));
}

TEST(Hdf5Defects, RowCountsThatDiffer) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [](hid_t f) {
    put_f32(f, "/x", {10, 1}, ramp(10));
    put_f32(f, "/y", {9}, ramp(9));
  });
  EXPECT_REFUSED(open_hdf5(with_labels(dir.file("a.h5"), 0)), Exit::data,
                 HasSubstr("'/y' has 9 rows, '/x' has 10"));
}

TEST(Hdf5Defects, SmallFileThatClaimsMuch) {
  const TempDir dir;
  const hsize_t rows = hsize_t{1} << 50;
  make_h5(dir.file("chunked.h5"), [&](hid_t f) {
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t chunk[1] = {1024};
    H5Pset_chunk(plist, 1, chunk);
    put(f, "/x", H5T_IEEE_F32LE, {rows}, nullptr, -1, plist);
    H5Pclose(plist);
  });
  make_h5(dir.file("contiguous.h5"),
          [&](hid_t f) { put(f, "/x", H5T_IEEE_F32LE, {rows}, nullptr); });
  make_h5(dir.file("wide.h5"), [&](hid_t f) { put(f, "/x", H5T_STD_U8LE, {1, rows}, nullptr); });
  for (const char* name : {"chunked.h5", "contiguous.h5", "wide.h5"}) {
    EXPECT_LT(std::filesystem::file_size(dir.file(name)), 4096u);
    EXPECT_REFUSED(open_hdf5(inputs_only(dir.file(name))), Exit::data, HasSubstr("'/x'"),
                   HasSubstr("claims 1125899906842624 elements"), HasSubstr("holds 0 bytes"));
  }
}

TEST(Hdf5Defects, OverflowingShape) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [&](hid_t f) {
    const hsize_t big = hsize_t{1} << 40;
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t chunk[2] = {1, 1};
    H5Pset_chunk(plist, 2, chunk);
    put(f, "/x", H5T_STD_U8LE, {big, big}, nullptr, -1, plist);
    H5Pclose(plist);
  });
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data, HasSubstr("'/x'"),
                 HasSubstr("2^60"));
}

TEST(Hdf5Defects, ChunksNeverWritten) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [&](hid_t f) {
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t chunk[1] = {4};
    H5Pset_chunk(plist, 1, chunk);
    put(f, "/x", H5T_IEEE_F32LE, {12}, nullptr, -1, plist);
    H5Pclose(plist);
    const hid_t set = H5Dopen2(f, "/x", H5P_DEFAULT);
    const hid_t space = H5Dget_space(set);
    const hsize_t zero[1] = {0};
    H5Sselect_hyperslab(space, H5S_SELECT_SET, zero, nullptr, chunk, nullptr);
    const hid_t memory = H5Screate_simple(1, chunk, nullptr);
    H5Dwrite(set, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, ramp(4).data());
    H5Sclose(memory);
    H5Sclose(space);
    H5Dclose(set);
  });
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data,
                 HasSubstr("has 1 of its 3 chunks"));
}

TEST(Hdf5Defects, ChunksStoredLargerThanTheyAre) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [&](hid_t f) {
    const hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t chunk[1] = {4};
    H5Pset_chunk(plist, 1, chunk);
    H5Pset_deflate(plist, 1);
    put(f, "/x", H5T_IEEE_F32LE, {4}, nullptr, -1, plist);
    H5Pclose(plist);
    const hid_t set = H5Dopen2(f, "/x", H5P_DEFAULT);
    const hsize_t zero[1] = {0};
    const std::string bomb(60000, 'x');
    ASSERT_GE(H5Dwrite_chunk(set, H5P_DEFAULT, 0, zero, bomb.size(), bomb.data()), 0);
    H5Dclose(set);
  });
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data,
                 HasSubstr("60000 bytes are stored for 1 chunks of 16 bytes"));
}

TEST(Hdf5Defects, NanNamesDataSetAndRow) {
  const TempDir dir;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF, -HUGE_VALF}) {
    make_h5(dir.file("a.h5"), [&](hid_t f) {
      std::vector<float> rows = ramp(30000);
      rows[3 * 17 + 2] = bad;
      put_f32(f, "/x", {10000, 3}, rows);
    });
    EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data,
                   HasSubstr("a.h5: '/x' row 17: element 2 is "), HasSubstr("finite"));
    DatasetOptions options = inputs_only(dir.file("a.h5"));
    options.cache_bytes = 0;
    const auto dataset = open_hdf5(options);
    EXPECT_NO_THROW(read_inputs(*dataset, {16, 18}));
    EXPECT_REFUSED(read_inputs(*dataset, {18, 17, 16}), Exit::data,
                   HasSubstr("'/x' row 17: element 2"));
  }
}

TEST(Hdf5Defects, F64BeyondF32) {
  const TempDir dir;
  const std::vector<double> rows = {1.0, 1e300};
  make_h5(dir.file("a.h5"), [&](hid_t f) { put(f, "/x", H5T_IEEE_F64LE, {2}, rows.data()); });
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data, HasSubstr("row 1"),
                 HasSubstr("1e+300"), HasSubstr("fits 32 bits"));
}

TEST(Hdf5Defects, NanInValueTargets) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [&](hid_t f) {
    put_f32(f, "/x", {3, 1}, ramp(3));
    put_f32(f, "/y", {3, 1}, {0, 1, NAN});
  });
  DatasetOptions options = inputs_only(dir.file("a.h5"));
  options.targets = "/y";
  EXPECT_REFUSED(open_hdf5(options), Exit::data, HasSubstr("'/y' row 2"), HasSubstr("nan"));
}

TEST(Hdf5Defects, LabelOutOfRangeNamesFileDataSetRowAndRange) {
  const TempDir dir;
  const auto labelled = [&](hid_t type, double label) {
    std::vector<double> labels(20, 1.0);
    labels[17] = label;
    make_h5(dir.file("a.h5"), [&](hid_t f) {
      put_f32(f, "/x", {20, 1}, ramp(20));
      put(f, "/y", type, {20}, labels.data(), H5T_NATIVE_DOUBLE);
    });
  };
  labelled(H5T_STD_I64LE, 12);
  EXPECT_REFUSED(open_hdf5(with_labels(dir.file("a.h5"), 10)), Exit::data,
                 HasSubstr("a.h5: '/y' row 17: label 12 is out of range, expected 0 to 9"));
  {
    DatasetOptions options = with_labels(dir.file("a.h5"), 10);
    options.cache_bytes = 0;
    const auto dataset = open_hdf5(options);
    std::vector<float> inputs(2);
    std::vector<std::int32_t> labels(2);
    const std::vector<std::int64_t> rows = {3, 17};
    EXPECT_REFUSED(dataset->read(rows, inputs.data(), labels.data()), Exit::data,
                   HasSubstr("'/y' row 17: label 12"));
  }
  for (const hid_t type : {H5T_STD_U8LE, H5T_STD_I32BE, H5T_IEEE_F32LE}) {
    labelled(type, 9);
    EXPECT_NO_THROW((void)open_hdf5(with_labels(dir.file("a.h5"), 10)));
    labelled(type, 10);
    EXPECT_REFUSED(open_hdf5(with_labels(dir.file("a.h5"), 10)), Exit::data,
                   HasSubstr("row 17: label 10 is out of range"));
  }
  labelled(H5T_STD_I8LE, -1);
  EXPECT_REFUSED(open_hdf5(with_labels(dir.file("a.h5"), 0)), Exit::data,
                 HasSubstr("row 17: label -1"));
  labelled(H5T_IEEE_F32LE, 2.5);
  EXPECT_REFUSED(open_hdf5(with_labels(dir.file("a.h5"), 10)), Exit::data,
                 HasSubstr("row 17: label 2.5"));
  labelled(H5T_IEEE_F64LE, NAN);
  EXPECT_REFUSED(open_hdf5(with_labels(dir.file("a.h5"), 10)), Exit::data,
                 HasSubstr("row 17: label nan"));
  labelled(H5T_STD_U64LE, 1e15);
  EXPECT_REFUSED(open_hdf5(with_labels(dir.file("a.h5"), 0)), Exit::data,
                 HasSubstr("row 17: label 1000000000000000"));
}

TEST(Hdf5Defects, LabelsOfTheWrongShape) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [&](hid_t f) {
    put_f32(f, "/x", {2, 1}, ramp(2));
    put_f32(f, "/y", {2, 3}, ramp(6));
  });
  EXPECT_REFUSED(open_hdf5(with_labels(dir.file("a.h5"), 3)), Exit::data, HasSubstr("[2, 3]"),
                 HasSubstr("[2] or [2, 1]"));
}

TEST(Hdf5Defects, MoreAxesThanAnyTensor) {
  const TempDir dir;
  make_h5(dir.file("a.h5"), [&](hid_t f) { put_f32(f, "/x", std::vector<hsize_t>(9, 1), {1}); });
  EXPECT_REFUSED(open_hdf5(inputs_only(dir.file("a.h5"))), Exit::data, HasSubstr("9 axes"));
}

}  // namespace
}  // namespace dlt::data
