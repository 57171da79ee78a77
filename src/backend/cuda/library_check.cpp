// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/library_check.h"

#include <array>
#include <string>

#include "base/error.h"
#include "base/text.h"

namespace dlt::cuda {
namespace {

std::string name_of(const char* call) {
  const std::string text(call);
  return text.substr(0, text.find('('));
}

}  // namespace

void failed(const char* call, cublasStatus_t status) {
  throw Error(Exit::unavailable,
              cat("cuda: ", name_of(call), " = ", static_cast<int>(status), " (",
                  cublasLtGetStatusName(status), ": ", cublasLtGetStatusString(status), ")"));
}

void failed(const char* call, cudnnStatus_t status) {
  std::array<char, 512> why{};
  cudnnGetLastErrorString(why.data(), why.size());
  throw Error(Exit::unavailable, cat("cuda: ", name_of(call), " = ", static_cast<int>(status), " (",
                                     cudnnGetErrorString(status), ": ", why.data(), ")"));
}

}  // namespace dlt::cuda
