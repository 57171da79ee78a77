// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace dlt::observe {

/// events.out.tfevents.*: TFRecord framing (masked CRC32C) around hand-encoded Event protobufs.
/// source  tensorflow/core/util/event.proto; lib/io/record_writer
class TensorBoardLog {
 public:
  TensorBoardLog(const std::string& directory, const Clock& clock);
  ~TensorBoardLog();
  void scalar(std::string_view tag, std::int64_t step, double value);
  void flush();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::observe
