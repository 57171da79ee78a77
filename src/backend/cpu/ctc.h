// SPDX-License-Identifier: Apache-2.0
// The trellis of one sample of ctc_loss: states are blank, label, blank, ..., blank. Plain numbers
// and pointers, since the routines are compiled once for each instruction set.
#pragma once

#include <cstdint>

namespace dlt::cpu {

struct CtcTrellis {
  /// Log-probabilities below this stand for "impossible"; finite, so that differences are numbers.
  static constexpr double kNever = -1e290;
  static constexpr double kImpossible = -1e37;
  static constexpr std::int64_t kMargin = 2;    // states that never are, before and behind a row
  static constexpr std::int64_t kPadding = 16;  // rows hold whole vectors

  const float* logp = nullptr;           // [steps, classes]
  const std::int32_t* states = nullptr;  // class of each state
  std::int64_t steps = 0, classes = 0, num_states = 0;
  const double* skip = nullptr;  // [num_states, padded]: 0 where s may follow s - 2, else kNever
  double* alpha = nullptr;       // rows: `steps` for gradients, 2 for the loss alone
  double* beta = nullptr;        // two rows
  float* emitted = nullptr;      // a row of floats
  std::int64_t stride = 0;       // of alpha and beta, kMargin on both sides of the states

  [[nodiscard]] static constexpr std::int64_t padded(std::int64_t num_states) {
    return (num_states + kPadding - 1) / kPadding * kPadding;
  }
};

#define DLT_CTC_ROUTINES                                                                       \
  /* Log-probability of the labels; alpha holds rows t % num_rows of steps t. */               \
  double ctc_forward(const CtcTrellis& trellis, std::int64_t num_rows);                        \
  /* gradient [steps, classes] -= scale * the probability of each class at each step. alpha */ \
  /* holds all rows of ctc_forward, which gave `total`. */                                     \
  void ctc_backward(const CtcTrellis& trellis, double total, float scale, float* gradient);
namespace avx2 {
DLT_CTC_ROUTINES
}
namespace avx512 {
DLT_CTC_ROUTINES
}
#undef DLT_CTC_ROUTINES

}  // namespace dlt::cpu
