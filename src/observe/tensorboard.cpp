// SPDX-License-Identifier: Apache-2.0
#include "observe/tensorboard.h"

#include <array>
#include <bit>
#include <cstring>
#include <fstream>

#include <unistd.h>

#include "base/text.h"

namespace dlt::observe {
namespace {

/// CRC-32C (Castagnoli), reflected polynomial 0x82F63B78. source: RFC 3720, appendix B.4
std::uint32_t crc32c(std::string_view bytes) {
  static const std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1U) != 0 ? (c >> 1) ^ 0x82F63B78U : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes)
    crc = table[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU] ^ (crc >> 8);
  return crc ^ 0xFFFFFFFFU;
}

/// TFRecord's masked checksum.
std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U; }

template <typename T>
void put_raw(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void put_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80U) {
    out.push_back(static_cast<char>((value & 0x7FU) | 0x80U));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_key(std::string& out, unsigned field, Wire wire) {
  put_varint(out, (field << 3) | static_cast<unsigned>(wire));
}

void put_bytes(std::string& out, unsigned field, std::string_view bytes) {
  put_key(out, field, Wire::bytes);
  put_varint(out, bytes.size());
  out.append(bytes);
}

}  // namespace

struct TensorBoardLog::Impl {
  std::ofstream file;
  const Clock* clock = nullptr;

  /// Event { double wall_time = 1; int64 step = 2; ... }
  [[nodiscard]] std::string event(std::int64_t step) const {
    std::string out;
    put_key(out, 1, Wire::fixed64);
    put_raw(out, clock->wall_s());
    put_key(out, 2, Wire::varint);
    put_varint(out, static_cast<std::uint64_t>(step));
    return out;
  }

  void record(const std::string& data) {
    std::string head;
    put_raw(head, static_cast<std::uint64_t>(data.size()));
    std::string out = head;
    put_raw(out, masked(crc32c(head)));
    out += data;
    put_raw(out, masked(crc32c(data)));
    file.write(out.data(), static_cast<std::streamsize>(out.size()));
  }
};

TensorBoardLog::TensorBoardLog(const std::string& directory, const Clock& clock)
    : impl_(std::make_unique<Impl>()) {
  std::array<char, 256> host{};
  (void)::gethostname(host.data(), host.size() - 1);
  impl_->clock = &clock;
  // TensorBoard reads files of one folder in the order of their names: time first, as TensorFlow
  // names them.
  impl_->file.open(
      cat(directory, "/events.out.tfevents.", static_cast<std::int64_t>(clock.wall_s()), ".",
          host.data(), ".", ::getpid(), ".0"),
      std::ios::binary | std::ios::app);
  std::string version = impl_->event(0);
  put_bytes(version, 3, "brain.Event:2");
  impl_->record(version);
  impl_->file.flush();
}

TensorBoardLog::~TensorBoardLog() = default;

void TensorBoardLog::scalar(std::string_view tag, std::int64_t step, double value) {
  // Summary.Value { string tag = 1; float simple_value = 2; }
  std::string entry;
  put_bytes(entry, 1, tag);
  put_key(entry, 2, Wire::fixed32);
  put_raw(entry, static_cast<float>(value));
  std::string summary;
  put_bytes(summary, 1, entry);
  std::string out = impl_->event(step);
  put_bytes(out, 5, summary);
  impl_->record(out);
}

void TensorBoardLog::flush() { impl_->file.flush(); }

}  // namespace dlt::observe
