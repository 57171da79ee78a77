// SPDX-License-Identifier: Apache-2.0
#include "observe/tensorboard.h"

#include <array>
#include <bit>
#include <exception>
#include <mutex>

#include <unistd.h>

#include "base/fs.h"
#include "base/proto_wire.h"
#include "base/text.h"
#include "observe/crc32c.h"
#include "observe/log_file.h"

namespace dlt::observe {
namespace {

constexpr double kFlush_s = 2.0;
constexpr std::size_t kFlush_bytes = 64 << 10;

std::uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

/// Length, its checksum, bytes, their checksum.
void append_record(std::string& out, std::string_view bytes) {
  const std::size_t start = out.size();
  append_little_endian(out, bytes.size(), 8);
  append_little_endian(out, masked_crc(std::string_view(out).substr(start, 8)), 4);
  out += bytes;
  append_little_endian(out, masked_crc(bytes), 4);
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

/// A name of its own for every log: TensorBoard reads the files of a folder in name order.
std::string file_name(const std::string& directory, double wall_s) {
  const std::string stem =
      cat(directory, "/events.out.tfevents.", static_cast<std::int64_t>(wall_s), ".", host_name(),
          ".", ::getpid(), ".");
  int number = 0;
  while (exists(stem + std::to_string(number))) ++number;
  return stem + std::to_string(number);
}

}  // namespace

struct TensorBoardLog::Impl {
  Impl(const std::string& directory, const Clock& the_clock)
      : file(file_name(directory, the_clock.wall_s()), LogFile::Mode::create_new),
        clock(&the_clock),
        last_flush_s(the_clock.monotonic_s()) {
    start_event();
    append_bytes(event, 3, "brain.Event:2");
    append_record(pending, event);
    flush();
  }

  void start_event() {
    event.clear();
    append_tag(event, 1, Wire::bits64);
    append_little_endian(event, std::bit_cast<std::uint64_t>(clock->wall_s()), 8);
  }

  void flush() {
    (void)file.append(pending);
    pending.clear();
    last_flush_s = clock->monotonic_s();
  }

  LogFile file;
  const Clock* clock;
  double last_flush_s;
  std::mutex mutex;
  std::string pending, event, value, summary;  // kept: nothing is allocated once they have grown
};

TensorBoardLog::TensorBoardLog(const std::string& directory, const Clock& clock)
    : impl_(std::make_unique<Impl>(directory, clock)) {}

TensorBoardLog::~TensorBoardLog() { flush(); }

void TensorBoardLog::scalar(std::string_view tag, std::int64_t step, double value) {
  const std::lock_guard lock(impl_->mutex);
  try {
    // Event{1: wall_time, 2: step, 5: Summary{1: Value{1: tag, 2: simple_value}}}
    impl_->value.clear();
    append_bytes(impl_->value, 1, tag);
    append_tag(impl_->value, 2, Wire::bits32);
    append_little_endian(impl_->value, std::bit_cast<std::uint32_t>(static_cast<float>(value)), 4);
    impl_->summary.clear();
    append_bytes(impl_->summary, 1, impl_->value);
    impl_->start_event();
    append_tag(impl_->event, 2, Wire::varint);
    append_varint(impl_->event, static_cast<std::uint64_t>(step));
    append_bytes(impl_->event, 5, impl_->summary);
    append_record(impl_->pending, impl_->event);
    if (impl_->pending.size() >= kFlush_bytes ||
        impl_->clock->monotonic_s() - impl_->last_flush_s >= kFlush_s) {
      impl_->flush();
    }
  } catch (const std::exception&) {  // no memory: a point is missing from the curve
  }
}

void TensorBoardLog::flush() {
  const std::lock_guard lock(impl_->mutex);
  if (!impl_->pending.empty()) impl_->flush();
}

}  // namespace dlt::observe
