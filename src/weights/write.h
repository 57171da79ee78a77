// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "base/fs.h"
#include "tensor/tensor.h"

namespace dlt::weights {

/// Words that go along with the tensors: "step", "weights_hash".
using Metadata = std::map<std::string, std::string>;

/// All three write under another name first, as write_atomically() does.
/// errors of all three  Error(Exit::io) naming path and reason; Error(Exit::config) for names and
///         types that the format lacks
void write_safetensors(Fs& fs, const std::string& path, const tensor::StateDict& state,
                       const Metadata& metadata);
/// What numpy.load() reads: one stored .npy a tensor; the metadata is the archive's comment, a line
/// a word. At most 4 GiB.
void write_npz(Fs& fs, const std::string& path, const tensor::StateDict& state,
               const Metadata& metadata);
/// "dense_1.weight" becomes the data set "/dense_1/weight"; the metadata are attributes of "/".
void write_hdf5(const std::string& path, const tensor::StateDict& state, const Metadata& metadata);

}  // namespace dlt::weights
