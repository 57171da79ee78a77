// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "observe/pulse.h"

namespace dlt::observe {

/// Whose ring it is.
struct RingOwner {
  std::int32_t rank = 0;
  std::int64_t pid = 0;
  std::int64_t generation = 0;
  std::string host;  // at most 255 bytes are kept
};

enum class RingEventKind : std::uint8_t { mark = 1, saved = 2, note = 3 };

struct RingEvent {
  double mono_s = 0;  // the rank's monotonic clock, that of its host
  RingEventKind kind = RingEventKind::mark;
  Mark mark;                           // of a mark
  SavedIn saved_in = SavedIn::memory;  // of a saved state, with mark.step
  std::string text;                    // of a note
};

/// The last events of a rank in memory that outlives it: MEMORY_DIR/ring-RANK, mode 0600. Any
/// thread may write at any time, without waiting; a SIGKILL at any instant leaves at most the
/// entries torn that were being written, and the reader tells which. Layout: flight_ring.cpp.
class FlightRing {
 public:
  static constexpr std::int64_t kNum_events = 4096;

  /// Makes the file anew; memory_dir is made if it is not there.
  /// errors  Error(Exit::denied) if memory_dir belongs to somebody else, is a link, or others may
  ///         use it; Error(Exit::io)
  FlightRing(const std::string& memory_dir, const RingOwner& owner);
  /// In this process's memory alone: nothing outlives it.
  explicit FlightRing(const RingOwner& owner);
  ~FlightRing();
  FlightRing(const FlightRing&) = delete;
  FlightRing& operator=(const FlightRing&) = delete;

  void mark(double mono_s, const Mark& mark) noexcept;
  void saved(double mono_s, SavedIn where, std::int64_t step) noexcept;
  /// The first 192 bytes are kept.
  void note(double mono_s, std::string_view text) noexcept;
  /// The training file that rows of marks belong to; the first 1023 bytes are kept.
  void set_file(std::string_view path) noexcept;
  /// Why the rank ends; the first call counts, of which 4,000 bytes are kept.
  void set_failure(std::string_view text) noexcept;
  /// The newest mark, if it is among the last 64 events; an event of kind mark.
  [[nodiscard]] std::optional<RingEvent> newest_mark() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A ring as read: numbers are in range, text is printable and, but for failure, one line.
struct RingContents {
  RingOwner owner;
  std::string file;               // "": not known
  std::string failure;            // "": none
  std::vector<RingEvent> events;  // oldest first
  std::int64_t num_written = 0;   // events ever written
  std::int64_t num_torn = 0;      // entries that make no sense and were left out
};

[[nodiscard]] std::string ring_path(const std::string& memory_dir, std::int32_t rank);

/// Reads the ring of a rank that may be dead, alive or hostile. errors  Error(Exit::missing) if
/// there is no such file; Error(Exit::data) if it is no ring
[[nodiscard]] RingContents read_ring(const std::string& path);
/// The same of the bytes of such a file; source is what messages call it.
[[nodiscard]] RingContents parse_ring(const std::string& source, const std::string& bytes);

}  // namespace dlt::observe
