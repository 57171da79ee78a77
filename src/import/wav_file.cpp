// SPDX-License-Identifier: Apache-2.0
#include "import/wav_file.h"

#include <bit>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "import/source_file.h"

namespace dlt::import_ {
namespace {

constexpr std::int64_t kMaxRate = 768000;

/// The bytes of a file, read as little-endian numbers at checked places.
class Bytes {
 public:
  Bytes(const std::string& path, std::string bytes) : path_(path), bytes_(std::move(bytes)) {}

  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] std::string_view text(std::size_t at, std::size_t count) const {
    expect(at, count);
    return std::string_view(bytes_).substr(at, count);
  }
  [[nodiscard]] std::uint32_t number(std::size_t at, std::size_t count) const {
    expect(at, count);
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes_[at + i])) << (8 * i);
    }
    return value;
  }
  [[noreturn]] void refuse(std::size_t at, const std::string& what) const {
    throw Error(Exit::data, cat(path_, ": byte ", at, ": ", what));
  }

 private:
  void expect(std::size_t at, std::size_t count) const {
    if (count <= size() && at <= size() - count) return;
    refuse(size(),
           cat("the file ends, expected ",
               counted(static_cast<long long>(at + count - size()), "more byte", "more bytes")));
  }
  const std::string& path_;
  std::string bytes_;
};

struct Format {
  bool is_float = false;
  std::size_t channels = 1;
  std::size_t sample_bytes = 2;
  std::int64_t rate = 0;
};

/// The chunk "fmt ", whose body is [at, at + size).
Format read_format(const Bytes& file, std::size_t at, std::size_t size) {
  if (size < 16)
    file.refuse(at - 4, cat("a format chunk of ", size, " bytes, expected 16 or more"));
  std::uint32_t tag = file.number(at, 2);
  if (tag == 0xFFFE) {
    if (size < 40)
      file.refuse(at - 4, cat("an extensible format of ", size, " bytes, expected 40"));
    tag = file.number(at + 24, 2);
  }
  const std::uint32_t channels = file.number(at + 2, 2), rate = file.number(at + 4, 4);
  const std::uint32_t align = file.number(at + 12, 2), bits = file.number(at + 14, 2);
  if (tag != 1 && tag != 3) {
    file.refuse(at, cat("format ", tag, ", expected 1 (PCM) or 3 (float): no compressed sound"));
  }
  if (channels != 1 && channels != 2) {
    file.refuse(at + 2, cat(channels, " channels, expected 1 or 2"));
  }
  if (rate < 1 || rate > kMaxRate) {
    file.refuse(at + 4, cat("a sample rate of ", rate, ", expected 1 to ", kMaxRate));
  }
  const bool good_bits = tag == 3 ? bits == 32 : bits % 8 == 0 && bits >= 8 && bits <= 32;
  if (!good_bits) {
    file.refuse(at + 14, cat(bits, " bits a sample, expected ",
                             tag == 3 ? "32 for floats" : "8, 16, 24 or 32"));
  }
  if (align != channels * bits / 8) {
    file.refuse(at + 12, cat("blocks of ", align, " bytes, expected ", channels * bits / 8, " for ",
                             channels, " x ", bits, " bits"));
  }
  return {tag == 3, channels, bits / 8, rate};
}

/// One sample in [-1, 1).
double sample_at(const Bytes& file, const Format& format, std::size_t at) {
  const std::uint32_t word = file.number(at, format.sample_bytes);
  if (format.is_float) {
    const float value = std::bit_cast<float>(word);
    if (!std::isfinite(value)) file.refuse(at, "a sample that is not finite");
    return static_cast<double>(value);
  }
  if (format.sample_bytes == 1) return (static_cast<double>(word) - 128.0) / 128.0;
  const unsigned unused = 32 - 8 * static_cast<unsigned>(format.sample_bytes);
  return static_cast<double>(static_cast<std::int32_t>(word << unused)) * 0x1.0p-31;
}

Recording read_samples(const Bytes& file, const Format& format, std::size_t at, std::size_t size) {
  const std::size_t block = format.channels * format.sample_bytes;
  if (size > file.size() - at) {
    file.refuse(at - 4, cat("sound of ", size, " bytes, but only ", file.size() - at, " follow"));
  }
  if (size == 0 || size % block != 0) {
    file.refuse(at - 4, cat("sound of ", size, " bytes, expected blocks of ", block));
  }
  Recording out{format.rate, {}};
  out.samples.reserve(size / block);
  for (std::size_t i = at; i < at + size; i += block) {
    double value = sample_at(file, format, i);
    if (format.channels == 2) {
      value = 0.5 * (value + sample_at(file, format, i + format.sample_bytes));
    }
    out.samples.push_back(static_cast<float>(value));
  }
  return out;
}

}  // namespace

Recording read_wav(const std::string& path) {
  const Bytes file(path, read_whole(path));
  if (file.text(0, 4) != "RIFF" || file.text(8, 4) != "WAVE") {
    file.refuse(0, "not a WAV file (RIFF ... WAVE)");
  }
  std::optional<Format> format;
  for (std::size_t at = 12;;) {
    if (at == file.size()) file.refuse(at, "the file ends without sound (chunk 'data')");
    const std::string_view name = file.text(at, 4);
    const std::size_t size = file.number(at + 4, 4);
    if (name == "data") {
      if (!format) file.refuse(at, "sound before its format (chunk 'fmt ')");
      return read_samples(file, *format, at + 8, size);
    }
    if (size > file.size() - (at + 8)) {
      file.refuse(at + 4, cat("chunk '", printable(name), "' of ", size, " bytes, but only ",
                              file.size() - (at + 8), " follow"));
    }
    if (name == "fmt ") format = read_format(file, at + 8, size);
    at += 8 + size + size % 2;  // chunks begin at even bytes
    if (at > file.size()) file.refuse(file.size(), "the file ends within a chunk's padding");
  }
}

}  // namespace dlt::import_
