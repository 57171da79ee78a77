// SPDX-License-Identifier: Apache-2.0
#include <random>
#include <string>

#include <gmock/gmock.h>

#include "base/text.h"
#include "support/temp_folder.h"
#include "weights/weights_file.h"
#include "weights/zip.h"

namespace dlt::weights::test {
namespace {

using dlt::test::error_of;
using testing::HasSubstr;

const std::string kDictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
const std::string kNumbers = floats({1, 2, 3, 4, 5, 6});

/// Opens an archive and loads all that is in it.
void read_all(const std::string& bytes) {
  const auto file = read_npz("a.npz", bytes);
  for (const auto& [name, type] : file->types()) (void)file->load(name);
}

std::string problem(const ZipEntry& entry) {
  return error_of([&] { read_all(zip({entry})); });
}

TEST(Npz, ReadsStoredAndDeflatedEntries) {
  for (const bool deflate : {false, true}) {
    const auto file =
        read_npz("a.npz", zip({{"dense_1.weight.npy", npy(kDictionary, kNumbers), deflate},
                               {"readme.txt", "not an array"}}));
    ASSERT_EQ(file->types().size(), 1u);
    EXPECT_EQ(file->types().at("dense_1.weight").text(), "f32[2, 3]");
    EXPECT_EQ(file->load("dense_1.weight").as<float>()[5], 6.0f);
  }
}

TEST(Npz, DamageIsToldWithItsEntry) {
  const std::string good = npy(kDictionary, kNumbers);
  EXPECT_THAT(problem({.name = "w.npy", .bytes = good, .spoil_crc = 1}),
              HasSubstr("65: a.npz: 'w': its checksum"));
  EXPECT_THAT(problem({.name = "w.npy", .bytes = good, .flags = 1}), HasSubstr("is encrypted"));
  EXPECT_THAT(problem({.name = "w.npy", .bytes = good, .method = 12}), HasSubstr("compression 12"));
  EXPECT_THAT(problem({.name = "w.npy", .bytes = "no array"}), HasSubstr("'w': not an .npy file"));
  EXPECT_THAT(problem({.name = "w.npy", .bytes = npy(kDictionary, floats({1}))}),
              HasSubstr("expected 94 for f32[2, 3]"));
  EXPECT_THAT(
      problem({.name = "w.npy",
               .bytes = npy("{'descr': '>f4', 'fortran_order': False, 'shape': (), }", "")}),
      HasSubstr("numbers of type '>f4'"));
  EXPECT_THAT(
      problem({.name = "w.npy",
               .bytes = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "")}),
      HasSubstr("numbers of type '|O'"));
  EXPECT_THAT(problem({.name = "w.npy",
                       .bytes = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
                                    kNumbers)}),
              HasSubstr("Fortran order"));
  EXPECT_THAT(error_of([&] {
                read_all(zip({{"w.npy", good}, {"w.npy", good}}));
              }),
              HasSubstr("'w': is there twice"));
}

TEST(Npz, WhatUnpacksToMoreThanItSaysIsRefused) {
  const std::string more = npy(kDictionary, kNumbers + kNumbers);
  EXPECT_THAT(problem({.name = "w.npy",
                       .bytes = more,
                       .deflate = true,
                       .claimed_bytes = more.size() - kNumbers.size()}),
              HasSubstr("unpacks to more than"));
}

TEST(Npz, AClaimThatNoCompressionKeepsCostsNoMemory) {
  // 3.9 GB of promised numbers in a few hundred bytes.
  const std::string header =
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,), }", "");
  const std::uint64_t claim = header.size() + 4000000000ULL;
  EXPECT_THAT(problem({.name = "w.npy", .bytes = header, .deflate = true, .claimed_bytes = claim}),
              HasSubstr("cannot unpack to"));
}

TEST(Npz, AFileCutShortAnywhereIsRefused) {
  const std::string whole =
      zip({{"w.npy", npy(kDictionary, kNumbers), true}, {"b.npy", npy(kDictionary, kNumbers)}});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(error_of([&] { read_all(whole.substr(0, size)); }), testing::StartsWith("65: "))
        << size;
  }
}

TEST(Npz, ChangedBytesGiveNumbersOrAnError) {
  const std::string whole =
      zip({{"w.npy", npy(kDictionary, kNumbers), true}, {"b.npy", npy(kDictionary, kNumbers)}});
  const auto seed = std::random_device{}();
  SCOPED_TRACE(cat("seed ", seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = whole;
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    const std::string got = error_of([&] { read_all(bytes); });
    EXPECT_TRUE(got == "no error" || got.starts_with("65: a.npz: ")) << got;
  }
}

TEST(OpenWeights, TellsFormatsApartByTheirBytes) {
  const dlt::test::TempFolder folder;
  dlt::test::write_file(folder / "weights", zip({{"w.npy", npy(kDictionary, kNumbers)}}));
  EXPECT_EQ(open_weights(folder / "weights")->types().count("w"), 1u);
  dlt::test::write_file(folder / "text", "layers: []");
  EXPECT_THAT(error_of([&] { (void)open_weights(folder / "text"); }), testing::StartsWith("65: "));
  EXPECT_THAT(error_of([&] { (void)open_weights(folder / "none"); }), HasSubstr("66: "));
  EXPECT_THAT(error_of([&] { (void)open_weights("/dev/null"); }), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace dlt::weights::test
