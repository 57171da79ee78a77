// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor.h"

#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace dlt::tensor {

Tensor::Tensor(Shape shape, DType dtype) : type_{shape, dtype} {
  storage_ = Storage::allocate(type_.bytes());
}

Tensor::Tensor(TensorType type, Storage storage, std::int64_t offset_bytes)
    : type_(type), storage_(std::move(storage)), offset_bytes_(offset_bytes) {
  DLT_CHECK(offset_bytes >= 0 && offset_bytes <= storage_.size_bytes() &&
                type_.bytes() <= storage_.size_bytes() - offset_bytes,
            cat(type_.text(), " at byte ", offset_bytes, " of ", storage_.size_bytes()));
}

}  // namespace dlt::tensor
