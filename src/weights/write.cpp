// SPDX-License-Identifier: Apache-2.0
#include "weights/write.h"

#include <filesystem>

#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"

namespace dlt::weights {

void write_whole(Fs& fs, const std::string& path,
                 std::span<const std::span<const std::byte>> pieces) {
  const std::string temporary = cat(path, ".", ::getpid(), ".tmp");
  try {
    fs.write_synced(temporary, pieces);
    fs.rename(temporary, path);
    const std::string parent = std::filesystem::path(path).parent_path().string();
    fs.sync_directory(parent.empty() ? "." : parent);
  } catch (const Error&) {
    std::error_code ignored;  // the first failure says more
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

void write_safetensors(Fs& fs, const std::string& path, const tensor::StateDict& state,
                       const Metadata& metadata) {
  const checkpoint::Encoded encoded = checkpoint::encode(state, metadata);
  write_whole(fs, path, encoded.pieces);
}

}  // namespace dlt::weights
