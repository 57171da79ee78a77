// SPDX-License-Identifier: Apache-2.0
#include "weights/write.h"

#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include <gmock/gmock.h>

#include "base/text.h"
#include "support/faulty_fs.h"
#include "support/temp_folder.h"
#include "weights/probe.h"
#include "weights/weights_file.h"

namespace dlt::weights {
namespace {

using dlt::test::error_of;
using dlt::test::FaultyFs;
using tensor::Tensor;

tensor::StateDict sample() {
  tensor::StateDict out;
  for (const auto& [name, shape] : {std::pair<std::string, tensor::Shape>{"dense_1.bias", {3}},
                                    {"dense_1.weight", {2, 3}},
                                    {"conv_2.weight", {1, 2, 3, 4}}}) {
    Tensor tensor(shape, DType::f32);
    float next = static_cast<float>(name.size());
    for (float& x : tensor.as<float>()) x = next += 0.25f;
    out.emplace(name, tensor);
  }
  out.emplace("optimizer.schedule", Tensor({2}, DType::f64));
  return out;
}

void write(const std::string& format, Fs& fs, const std::string& path) {
  if (format == "npz") return write_npz(fs, path, sample(), {{"step", "12"}});
  if (format == "hdf5") return write_hdf5(path, sample(), {{"step", "12"}});
  write_safetensors(fs, path, sample(), {{"step", "12"}});
}

TEST(Write, EveryFormatIsReadAgainToTheBit) {
  const dlt::test::TempFolder folder;
  SystemFs fs;
  for (const char* format : {"safetensors", "npz", "hdf5"}) {
    SCOPED_TRACE(format);
    write(format, fs, folder / format);
    const auto file = open_weights(folder / format);
    const tensor::StateDict wanted = sample();
    EXPECT_EQ(file->types().size(), wanted.size());
    for (const auto& [name, tensor] : wanted) {
      ASSERT_EQ(file->types().count(name), 1u) << name;
      const Tensor got = file->load(name);
      EXPECT_EQ(got.type(), tensor.type()) << name;
      EXPECT_EQ(std::memcmp(got.bytes(), tensor.bytes(), tensor.byte_span().size()), 0) << name;
    }
  }
}

TEST(Write, EqualTensorsMakeEqualFiles) {
  const dlt::test::TempFolder folder;
  SystemFs fs;
  for (const char* format : {"safetensors", "npz", "hdf5"}) {
    write(format, fs, folder / "a");
    write(format, fs, folder / "b");
    EXPECT_EQ(read_file(folder / "a"), read_file(folder / "b")) << format;
  }
}

TEST(Write, AFileThatCannotBeFinishedLeavesTheOldOne) {
  const dlt::test::TempFolder folder;
  for (const char* format : {"safetensors", "npz"}) {
    for (int call = 0; call < 2; ++call) {
      const std::string path = folder / format;
      dlt::test::write_file(path, "old");
      FaultyFs fs(FaultyFs::Mode::fail_once, call);
      EXPECT_THAT(error_of([&] { write(format, fs, path); }), testing::StartsWith("74: "));
      EXPECT_EQ(read_file(path), "old");
      EXPECT_EQ(list_directory(folder.path()).size(), 1u) << join(list_directory(folder.path()));
      std::filesystem::remove(path);
    }
  }
  EXPECT_THAT(error_of([&] { write_hdf5(folder / "none/x.h5", sample(), {}); }),
              testing::StartsWith("74: "));
}

TEST(Write, NumPyHasNoBf16) {
  const dlt::test::TempFolder folder;
  SystemFs fs;
  EXPECT_THAT(error_of([&] {
                write_npz(fs, folder / "x.npz", {{"a", Tensor({1}, DType::bf16)}}, {});
              }),
              testing::HasSubstr("78: npz: NumPy has no numbers of type bf16"));
}

TEST(Probe, ACrashInTheLibraryIsAnError) {
  EXPECT_THAT(error_of([] { probe("x.h5", [] { std::raise(SIGSEGV); }); }),
              testing::HasSubstr(
                  "65: x.h5: the HDF5 file is damaged (reading it ends the process by signal 11)"));
  probe("x.h5", [] { throw Error(Exit::data, "thrown again by whoever reads it next"); });
}

}  // namespace
}  // namespace dlt::weights
