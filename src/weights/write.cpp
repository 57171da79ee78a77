// SPDX-License-Identifier: Apache-2.0
#include "weights/write.h"

#include "checkpoint/safetensors.h"

namespace dlt::weights {

void write_safetensors(Fs& fs, const std::string& path, const tensor::StateDict& state,
                       const Metadata& metadata) {
  const checkpoint::Encoded encoded = checkpoint::encode(state, metadata);
  write_atomically(fs, path, encoded.pieces);
}

}  // namespace dlt::weights
