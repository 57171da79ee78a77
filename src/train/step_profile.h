// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "autodiff/executor.h"
#include "ddp/scaling.h"
#include "train/session.h"

namespace dlt::train {

/// Trains for a second or so on random data, alone, and says where a step's time goes.
/// division: of one rank.
[[nodiscard]] ddp::StepProfile measure_step(const Surroundings& around, const RunConfig& config,
                                            const autodiff::Program& program,
                                            const Division& division);

/// The same from a known time of the whole step: all of it forward and backward, with parameters
/// read and gradients final as the count of operations before them tells.
[[nodiscard]] ddp::StepProfile suppose_step(const autodiff::Program& program,
                                            const Division& division, double step_s);

/// Bytes a second that all workers together move while they add up buffers.
[[nodiscard]] double measure_memory(ThreadPool& pool, const Clock& clock);

}  // namespace dlt::train
