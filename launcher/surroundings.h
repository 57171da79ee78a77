// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "autodiff/op_def.h"
#include "base/clock.h"
#include "base/fs.h"
#include "launcher/command.h"
#include "tensor/backend.h"
#include "train/session.h"

namespace dlt::launcher {

/// The things from outside that jobs use, made once for a command.
class RealSurroundings {
 public:
  RealSurroundings();
  /// This object must outlive what it returns.
  [[nodiscard]] train::Surroundings get(const RankEnv& ranks,
                                        observe::Pulse& pulse = observe::silent_pulse());

 private:
  autodiff::OpTable table_;
  std::unique_ptr<tensor::Backend> backend_;
  std::unique_ptr<train::Devices> devices_;
  SystemFs fs_;
  SystemClock clock_;
};

}  // namespace dlt::launcher
