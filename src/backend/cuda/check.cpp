// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/check.h"

#include <string>

#include "base/error.h"
#include "base/text.h"

namespace dlt::cuda {

void failed(const char* call, cudaError_t status) {
  const std::string text(call);
  throw Error(Exit::unavailable,
              cat("cuda: ", text.substr(0, text.find('(')), " = ", static_cast<int>(status), " (",
                  cudaGetErrorName(status), ": ", cudaGetErrorString(status), ")"));
}

}  // namespace dlt::cuda
