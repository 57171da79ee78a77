// SPDX-License-Identifier: Apache-2.0
#include "weights/weights_file.h"

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"

namespace dlt::weights {

std::unique_ptr<WeightsFile> open_weights(const std::string& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (code || !std::filesystem::exists(status)) {
    throw Error(Exit::missing, cat(printable(path, 200), ": no such file or folder"),
                "give a checkpoint's folder, a run's, or a .safetensors, .npz or .h5 file");
  }
  if (std::filesystem::is_directory(status)) return open_checkpoint(path);
  if (!std::filesystem::is_regular_file(status)) {
    throw Error(Exit::data, cat(printable(path, 200), ": not a regular file"));
  }
  std::string first(4, '\0');
  std::ifstream(path, std::ios::binary).read(first.data(), 4);
  if (first == "\x89HDF") return open_hdf5(path);
  if (first.starts_with("PK")) return read_npz(path, read_file(path));
  return read_safetensors(path, read_file(path));
}

}  // namespace dlt::weights
