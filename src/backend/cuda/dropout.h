// SPDX-License-Identifier: Apache-2.0
// Device code: dropout of four consecutive elements of [B, ...], with the mask that every device
// has.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "backend/cuda/device.h"
#include "backend/cuda/divider.h"
#include "backend/cuda/elements.h"
#include "base/rng.h"
#include "tensor/kernel.h"
#include "tensor/kernel_form.h"

namespace dlt::cuda {

struct Dropout {
  std::uint64_t op = 0;         // rng::op_id of the layer
  std::uint32_t threshold = 0;  // a 24-bit number that is at least this is kept
  float scale = 1;
  std::int64_t sample = 1;  // elements of one
  Divider by_sample{1};

  Dropout() = default;
  /// Of tensor::forms::dropout.
  explicit Dropout(const tensor::KernelForm& form)
      : op(form.op),
        threshold(form.threshold),
        scale(form.p0),
        sample(std::max<std::int64_t>(form.cols, 1)),
        by_sample(sample) {}

  /// Elements first to first + 3, of which `count` in all there are.
  [[nodiscard]] __device__ Four apply(const Four& x, std::int64_t first, std::int64_t count,
                                      const tensor::DeviceRun& run) const {
    std::int64_t at = first;
    std::int64_t b = by_sample.take(at);
    rng::Key key{run.seed, op, run.epoch, static_cast<std::uint64_t>(run.sample_ids[b])};
    std::array<std::uint32_t, 4> words = rng::block(key, static_cast<std::uint32_t>(at / 4));
    Four y;
    if (at % 4 == 0 && at + 4 <= sample) {
      for (int u = 0; u < 4; ++u) y.x[u] = keep(words[static_cast<std::size_t>(u)], x.x[u]);
      return y;
    }
    for (int u = 0; u < 4; ++u, ++at) {
      y.x[u] = 0.0f;
      if (first + u >= count) continue;
      if (at == sample) {
        at = 0;
        key.sample = static_cast<std::uint64_t>(run.sample_ids[++b]);
      }
      if (at % 4 == 0) words = rng::block(key, static_cast<std::uint32_t>(at / 4));
      y.x[u] = keep(words[static_cast<std::size_t>(at % 4)], x.x[u]);
    }
    return y;
  }

 private:
  [[nodiscard]] __device__ float keep(std::uint32_t word, float x) const {
    return (word >> 8) < threshold ? 0.0f : x * scale;
  }
};

/// errors  Exit::internal if the run has too few sample ids
void check_sample_ids(const tensor::RunContext& run, std::int64_t samples);

}  // namespace dlt::cuda
