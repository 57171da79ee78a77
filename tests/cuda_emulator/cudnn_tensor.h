// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include <cudnn_graph.h>
#include <library_types.h>

#include "cuda_emulator/cudnn_descriptor.h"

namespace dlt::emulator {

/// A tensor descriptor, and its values as f32 with the last dimension innermost.
struct CudnnTensor {
  explicit CudnnTensor(const CudnnDescriptor& d);
  [[nodiscard]] std::int64_t numel() const;
  /// From the lowest to the highest element, in elements.
  [[nodiscard]] std::int64_t extent() const;
  [[nodiscard]] std::vector<float> read(const void* data) const;
  void write(void* data, const std::vector<float>& values) const;
  /// As they would come back from memory of this type.
  [[nodiscard]] std::vector<float> rounded(std::vector<float> values) const;

  std::int64_t id;
  cudaDataType type;
  std::int64_t alignment;
  bool is_virtual;
  std::vector<std::int64_t> sizes, strides;
};

/// The values of virtual tensors, and the memory of the others, by id.
struct CudnnMemory {
  std::map<std::int64_t, void*> bound;
  std::map<std::int64_t, std::vector<float>> computed;
  bool tf32 = false;  // operands of products that are f32 are rounded
  [[nodiscard]] std::vector<float> read(const CudnnTensor& tensor) const;
  /// What a product reads.
  [[nodiscard]] std::vector<float> read_operand(const CudnnTensor& tensor) const;
  void write(const CudnnTensor& tensor, std::vector<float> values);
};

/// Tensors of an operation: all it reads, then the one it writes.
[[nodiscard]] std::vector<CudnnTensor> tensors_of(const CudnnDescriptor& operation);
[[nodiscard]] cudnnStatus_t check_operation(const CudnnDescriptor& operation);
void run_operation(const CudnnDescriptor& operation, CudnnMemory& memory);

/// The three convolutions, in cudnn_conv.cpp.
[[nodiscard]] cudnnStatus_t check_convolution(const CudnnDescriptor& operation);
void run_convolution(const CudnnDescriptor& operation, CudnnMemory& memory);

}  // namespace dlt::emulator
