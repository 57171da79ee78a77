// SPDX-License-Identifier: Apache-2.0
// The CUDA back end of src/ on the emulator: its sources as g++ compiles them.
#include <cstring>
#include <vector>

#include "backend/cuda/cuda_backend.h"
#include "cuda_emulator/test_support.h"

namespace dlt::emulator {
namespace {

class BackEnd : public EmulatorTest {};

TEST_F(BackEnd, CopiesThereAndBack) {
  const std::unique_ptr<tensor::Backend> backend = cuda::make_cuda_backend(0);
  const std::vector<float> values{1.0f, 2.0f, 3.0f};
  std::vector<float> got(3);
  const tensor::Storage storage = backend->allocate(12);
  const auto queue = backend->make_queue();
  queue->copy(storage.data(), values.data(), 12);
  queue->copy(got.data(), storage.data(), 12);
  queue->wait();
  EXPECT_EQ(got, values);
}

}  // namespace
}  // namespace dlt::emulator
