// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tensor/tensor.h"

namespace dlt::weights {

/// Named tensors in a file that another tool, or dltrain itself, wrote. Opening reads what the file
/// says of them; a tensor's numbers are read when it is asked for, so that a file that promises
/// much costs no memory unless the tensor is wanted.
class WeightsFile {
 public:
  virtual ~WeightsFile() = default;
  [[nodiscard]] virtual const std::map<std::string, tensor::TensorType>& types() const = 0;
  /// One of types(). errors  Error(Exit::data) naming file and entry if it is damaged
  [[nodiscard]] virtual tensor::Tensor load(const std::string& name) const = 0;
};

/// A checkpoint's folder, a run's (its newest checkpoint), or a file: safetensors, NumPy's .npz
/// (stored or deflated) or HDF5, told apart by their first bytes. In HDF5 "/dense_1/weight" is
/// called "dense_1.weight". Entries that hold no numbers are passed over.
/// errors  Error(Exit::missing) there is no such path; Error(Exit::data) naming file and entry:
///         none of these formats, damaged, cut short, sizes that do not fit
[[nodiscard]] std::unique_ptr<WeightsFile> open_weights(const std::string& path);

/// The formats one by one, from bytes: for open_weights() and for tests.
[[nodiscard]] std::unique_ptr<WeightsFile> read_npz(const std::string& source, std::string bytes);
[[nodiscard]] std::unique_ptr<WeightsFile> read_safetensors(const std::string& source,
                                                            const std::string& bytes);
/// A checkpoint's folder or a run's.
[[nodiscard]] std::unique_ptr<WeightsFile> open_checkpoint(const std::string& path);
[[nodiscard]] std::unique_ptr<WeightsFile> open_hdf5(const std::string& path);

}  // namespace dlt::weights
