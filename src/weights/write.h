// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/fs.h"
#include "tensor/tensor.h"

namespace dlt::weights {

/// Words that go along with the tensors: "step", "weights_hash".
using Metadata = std::map<std::string, std::string>;

/// Writes under another name, syncs, then renames: readers see the old file or the whole new one.
/// What was written of a file that could not be finished is removed.
/// errors  Error(Exit::io) naming path and reason
void write_whole(Fs& fs, const std::string& path,
                 std::span<const std::span<const std::byte>> pieces);

/// errors of all three  Error(Exit::io) as write_whole(); Error(Exit::config) for names and types
///         that the format lacks
void write_safetensors(Fs& fs, const std::string& path, const tensor::StateDict& state,
                       const Metadata& metadata);
/// What numpy.load() reads: one stored .npy a tensor; the metadata is the archive's comment, a line
/// a word. At most 4 GiB.
void write_npz(Fs& fs, const std::string& path, const tensor::StateDict& state,
               const Metadata& metadata);
/// "dense_1.weight" becomes the data set "/dense_1/weight"; the metadata are attributes of "/".
void write_hdf5(const std::string& path, const tensor::StateDict& state, const Metadata& metadata);

}  // namespace dlt::weights
