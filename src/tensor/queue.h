// SPDX-License-Identifier: Apache-2.0
// Work that a device does beside the host, in the order in which it was given.
#pragma once

#include <cstdint>
#include <memory>

namespace dlt::tensor {

/// A point in a queue's work.
class Event {
 public:
  virtual ~Event() = default;
  /// The work in front of the last record() is done. errors  as of Queue::wait
  [[nodiscard]] virtual bool done() const = 0;
  /// The host waits for it. errors  as of Queue::wait
  virtual void wait() const = 0;
  /// Milliseconds on the device between two recorded points that are done; only of events made with
  /// timing.
  [[nodiscard]] virtual double ms_since(const Event& earlier) const = 0;
};

/// Work that was captured once and can be given again as a whole.
class Recording {
 public:
  virtual ~Recording() = default;
};

/// A stream of work of one device. One queue belongs to one thread at a time.
/// errors  Error(Exit::unavailable) if the device fails, naming the call
class Queue {
 public:
  virtual ~Queue() = default;
  /// Between device memory and memory of Backend::allocate_staging, in any direction, beside the
  /// host; other host memory makes the host wait. Both must stay as they are until it is done.
  virtual void copy(void* to, const void* from, std::int64_t num_bytes) = 0;
  /// Zeros in device memory.
  virtual void zero(void* to, std::int64_t num_bytes) = 0;
  /// Puts the event behind all work given so far.
  virtual void record(Event& event) = 0;
  /// Work given from now on waits for the event's last record(), which may be in another queue.
  virtual void wait_for(const Event& event) = 0;
  /// The host waits until all work is done.
  virtual void wait() = 0;
  /// Work given to this queue, and to others that wait for its events, is captured and not done. No
  /// wait(), no allocation meanwhile.
  virtual void begin_capture() = 0;
  [[nodiscard]] virtual std::unique_ptr<Recording> end_capture() = 0;
  virtual void replay(const Recording& recording) = 0;
  /// What kernels of this device give their work to: cudaStream_t.
  [[nodiscard]] virtual void* handle() const = 0;
};

}  // namespace dlt::tensor
