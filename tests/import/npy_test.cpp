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
using testing::TempDir;

std::string npy(const std::string& header, const std::string& numbers, int version = 1) {
  std::string out = "\x93NUMPY";
  out += static_cast<char>(version);
  out += '\0';
  const auto size = header.size();
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) out += static_cast<char>(size >> (8 * i));
  return out + header + numbers;
}

std::string dict(const std::string& type, const std::string& shape) {
  return "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }     \n";
}

NpyOptions npy_file(const TempDir& dir, const std::string& bytes) {
  NpyOptions options;
  options.inputs = dir.put("x.npy", bytes);
  options.output = dir.file("out.h5");
  return options;
}

TEST(Npy, ImportsInputsAndTargets) {
  const TempDir dir;
  for (const int version : {1, 2, 3}) {
    NpyOptions options =
        npy_file(dir, npy(dict("|u1", "(2, 3)"), "\x01\x02\x03\x04\x05\x06", version));
    options.targets = dir.put("y.npy", npy(dict("<i2", "(2,)"), std::string("\x05\0\xff\xff", 4)));
    options.test_inputs = options.inputs;
    options.test_targets = options.targets;
    const ImportReport report = import_npy(options);
    EXPECT_EQ(report.items[0].type, "u8");
    EXPECT_THAT(read_table(options.output, "/train/x").numbers, ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_THAT(read_table(options.output, "/test/y").numbers, ElementsAre(5, -1));
  }
}

TEST(Npy, RefusesWhatIsMissingOrMalformed) {
  const TempDir dir;
  const auto import = [&](const std::string& bytes) { return import_npy(npy_file(dir, bytes)); };
  NpyOptions gone;
  gone.inputs = dir.file("nowhere.npy");
  gone.output = dir.file("out.h5");
  EXPECT_REFUSED(import_npy(gone), Exit::missing, HasSubstr("nowhere.npy: no such file"));
  EXPECT_REFUSED(import(""), Exit::data, HasSubstr("not an .npy file"));
  EXPECT_REFUSED(import("PK\x03\x04 a zip file"), Exit::data, HasSubstr("not an .npy file"));
  EXPECT_REFUSED(import(npy(dict("<f4", "(1,)"), "1234", 9)), Exit::data, HasSubstr("version 9"));
  EXPECT_REFUSED(import(npy(dict(">f4", "(1,)"), "1234")), Exit::data, HasSubstr("'>f4'"),
                 HasSubstr("astype"));
  EXPECT_REFUSED(import(npy(dict("|O", "(1,)"), "1234")), Exit::data, HasSubstr("'|O'"));
  EXPECT_REFUSED(import(npy(dict("<U8", "(1,)"), "1234")), Exit::data, HasSubstr("'<U8'"));
  EXPECT_REFUSED(import(npy(dict("<f4", "()"), "1234")), Exit::data, HasSubstr("rows first"));
  EXPECT_REFUSED(import(npy(dict("<f4", "(0, 3)"), "")), Exit::data, HasSubstr("no rows"));
  EXPECT_REFUSED(import(npy(dict("<f4", "(-1,)"), "")), Exit::data, HasSubstr("expected a size"));
  EXPECT_REFUSED(import(npy(dict("<f4", "(2,)"), "1234567")), Exit::data,
                 HasSubstr("ends at byte"));
  EXPECT_REFUSED(import(npy(dict("<f4", "(1,)"), "12345")), Exit::data, HasSubstr("goes on after"));
  EXPECT_REFUSED(
      import(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "1234")),
      Exit::data, HasSubstr("table of records"));
  EXPECT_REFUSED(
      import(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}", std::string(16, 'x'))),
      Exit::data, HasSubstr("Fortran order"));
  EXPECT_REFUSED(import(npy("{'descr': '<f4', 'shape': (1,)}", "1234")), Exit::data,
                 HasSubstr("is missing"));
  EXPECT_REFUSED(import(npy("{'descr': '<f4', 'evil': 1}", "1234")), Exit::data,
                 HasSubstr("'evil'"));
  EXPECT_REFUSED(import(npy("{'descr': '<f4", "1234")), Exit::data, HasSubstr("never closed"));
  EXPECT_REFUSED(import("\x93NUMPY\x02" + std::string("\0\xff\xff\xff\xff", 5)), Exit::data,
                 HasSubstr("header of 4294967295 bytes"));
}

TEST(Npy, HugeClaimsCostNoMemory) {
  const TempDir dir;
  EXPECT_REFUSED(
      import_npy(npy_file(dir, npy(dict("<f8", "(1125899906842624, 1125899906842624)"), "1"))),
      Exit::data, HasSubstr("more data than any file holds"));
  EXPECT_REFUSED(import_npy(npy_file(dir, npy(dict("<f8", "(4294967296,)"), "1"))), Exit::data,
                 HasSubstr("ends at byte"));
}

TEST(Npy, RefusesRowsThatDiffer) {
  const TempDir dir;
  NpyOptions options = npy_file(dir, npy(dict("|u1", "(2, 1)"), "12"));
  options.targets = dir.put("y.npy", npy(dict("|u1", "(3,)"), "123"));
  EXPECT_REFUSED(import_npy(options), Exit::data, HasSubstr("y.npy: has 3 rows"),
                 HasSubstr("has 2"));
  EXPECT_EQ(dir.num_files(), 2u);
}

}  // namespace
}  // namespace dlt::import_
