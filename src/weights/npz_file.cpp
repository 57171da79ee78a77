// SPDX-License-Identifier: Apache-2.0
// NumPy's .npz: a ZIP archive of .npy files, each stored or deflated.
// source  PKWARE APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12 and 4.3.16
#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include <zlib.h>

#include "base/error.h"
#include "base/text.h"
#include "weights/npy_header.h"
#include "weights/weights_file.h"

namespace dlt::weights {
namespace {

constexpr std::size_t kEnd_bytes = 22, kCentral_bytes = 46, kLocal_bytes = 30;
constexpr std::size_t kMaxComment_bytes = 65535;
constexpr std::uint64_t kInZip64 = 0xffffffff;

struct Entry {
  std::string name;         // without ".npy"
  std::uint64_t begin = 0;  // of its bytes in the file
  std::uint64_t stored_bytes = 0, num_bytes = 0;
  std::uint32_t crc = 0;
  bool deflated = false;
  NpyHeader header;
};

std::uint64_t little_endian(std::string_view bytes, std::size_t at, std::size_t width) {
  std::uint64_t out = 0;
  for (std::size_t i = width; i-- > 0;) out = out << 8 | static_cast<unsigned char>(bytes[at + i]);
  return out;
}

/// Unpacks an entry from its start, as far as it is asked.
class Unpacker {
 public:
  Unpacker(std::string_view stored, bool deflated) : stored_(stored), deflated_(deflated) {
    if (!deflated_) return;
    if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(stored.data()));
  }
  ~Unpacker() {
    if (deflated_) inflateEnd(&stream_);
  }
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;

  /// Returns how many bytes came; fewer than asked for at the end or where the stream is damaged.
  std::size_t read(char* out, std::size_t num_bytes) {
    if (!deflated_) {
      const std::size_t got = std::min(num_bytes, stored_.size() - at_);
      std::memcpy(out, stored_.data() + at_, got);
      at_ += got;
      return got;
    }
    std::size_t done = 0;
    while (done < num_bytes) {
      constexpr std::size_t kPiece = 1 << 30;  // zlib counts in 32 bits
      const std::size_t wanted = std::min(num_bytes - done, kPiece);
      if (stream_.avail_in == 0) {
        stream_.avail_in = static_cast<uInt>(std::min(stored_.size() - at_, kPiece));
        at_ += stream_.avail_in;
      }
      stream_.next_out = reinterpret_cast<Bytef*>(out + done);
      stream_.avail_out = static_cast<uInt>(wanted);
      const int code = inflate(&stream_, Z_NO_FLUSH);
      const std::size_t got = wanted - stream_.avail_out;
      done += got;
      if (code != Z_OK || (got == 0 && stream_.avail_in == 0 && at_ == stored_.size())) break;
    }
    return done;
  }

 private:
  std::string_view stored_;
  bool deflated_;
  std::size_t at_ = 0;
  z_stream stream_{};
};

class NpzFile final : public WeightsFile {
 public:
  NpzFile(const std::string& source, std::string bytes)
      : source_(printable(source, 200)), bytes_(std::move(bytes)) {
    read_directory();
    for (Entry& entry : entries_) read_header(entry);
    for (const Entry& entry : entries_) {
      if (!types_.emplace(entry.name, entry.header.type).second) {
        refuse(entry.name, "is there twice");
      }
    }
  }

  [[nodiscard]] const std::map<std::string, tensor::TensorType>& types() const override {
    return types_;
  }

  [[nodiscard]] tensor::Tensor load(const std::string& name) const override {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.name == name; });
    DLT_CHECK(found != entries_.end(), name);
    const Entry& entry = *found;
    if (entry.header.fortran_order && entry.header.type.shape.rank() > 1) {
      refuse(name, "stored in Fortran order, expected C order",
             "in Python: numpy.ascontiguousarray(a)");
    }
    // Within what deflate can do at all, so that nothing is allocated for a mere claim.
    if (entry.num_bytes / 1032 > entry.stored_bytes) {
      refuse(name, cat(entry.stored_bytes, " bytes cannot unpack to ", entry.num_bytes));
    }
    tensor::Tensor out(entry.header.type.shape, entry.header.type.dtype);
    Unpacker unpacker(stored(entry), entry.deflated);
    std::string header(entry.header.num_bytes, '\0');
    const auto size = static_cast<std::size_t>(entry.header.type.bytes());
    std::size_t got = unpacker.read(header.data(), header.size());
    if (size > 0) got += unpacker.read(reinterpret_cast<char*>(out.bytes()), size);
    char more = 0;
    got += unpacker.read(&more, 1);
    if (got != entry.num_bytes) {
      refuse(name, cat("unpacks to ", got > entry.num_bytes ? "more than " : "",
                       got > entry.num_bytes ? entry.num_bytes : got, " bytes, expected ",
                       entry.num_bytes));
    }
    uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(header.data()), header.size());
    if (size > 0) crc = crc32_z(crc, reinterpret_cast<const Bytef*>(out.bytes()), size);
    if (crc != entry.crc) refuse(name, "its checksum does not fit");
    return out;
  }

 private:
  [[noreturn]] void refuse(const std::string& entry, const std::string& what,
                           const std::string& hint = {}) const {
    throw Error(Exit::data, cat(source_, ": '", printable(entry), "': ", what), hint);
  }
  [[noreturn]] void damaged(const std::string& what) const {
    throw Error(Exit::data, cat(source_, ": damaged .npz: ", what));
  }
  [[nodiscard]] std::string_view stored(const Entry& entry) const {
    return std::string_view(bytes_).substr(entry.begin, entry.stored_bytes);
  }

  [[nodiscard]] std::size_t find_end() const {
    if (bytes_.size() < kEnd_bytes) damaged("shorter than any ZIP archive");
    const std::size_t last = bytes_.size() - kEnd_bytes;
    const std::size_t first = last > kMaxComment_bytes ? last - kMaxComment_bytes : 0;
    for (std::size_t at = last + 1; at-- > first;) {
      if (std::memcmp(bytes_.data() + at, "PK\x05\x06", 4) == 0 &&
          at + kEnd_bytes + little_endian(bytes_, at + 20, 2) == bytes_.size()) {
        return at;
      }
    }
    damaged("no directory at its end; was it cut short?");
  }

  void read_directory() {
    const std::size_t end = find_end();
    const std::uint64_t count = little_endian(bytes_, end + 10, 2);
    std::uint64_t at = little_endian(bytes_, end + 16, 4);
    if (count == 0xffff || at == kInZip64)
      damaged("more entries or bytes than ZIP had before ZIP64");
    for (std::uint64_t i = 0; i < count; ++i) {
      if (at + kCentral_bytes > end || std::memcmp(bytes_.data() + at, "PK\x01\x02", 4) != 0) {
        damaged(cat("entry ", i, " of ", count, " is not in its directory"));
      }
      const std::uint64_t name_bytes = little_endian(bytes_, at + 28, 2);
      const std::uint64_t next = at + kCentral_bytes + name_bytes +
                                 little_endian(bytes_, at + 30, 2) +
                                 little_endian(bytes_, at + 32, 2);
      if (next > end) damaged(cat("entry ", i, " of ", count, " is cut short"));
      add_entry(at, bytes_.substr(at + kCentral_bytes, name_bytes), end);
      at = next;
    }
  }

  void add_entry(std::uint64_t at, std::string name, std::size_t end) {
    if (!name.ends_with(".npy")) return;
    Entry entry;
    entry.name = name.substr(0, name.size() - 4);
    const std::uint64_t flags = little_endian(bytes_, at + 8, 2);
    const std::uint64_t method = little_endian(bytes_, at + 10, 2);
    if ((flags & 1) != 0) refuse(entry.name, "is encrypted");
    if (method != 0 && method != 8) {
      refuse(entry.name, cat("compression ", method, ", expected 0 (stored) or 8 (deflated)"));
    }
    entry.deflated = method == 8;
    entry.crc = static_cast<std::uint32_t>(little_endian(bytes_, at + 16, 4));
    entry.stored_bytes = little_endian(bytes_, at + 20, 4);
    entry.num_bytes = little_endian(bytes_, at + 24, 4);
    const std::uint64_t local = little_endian(bytes_, at + 42, 4);
    if (entry.stored_bytes == kInZip64 || entry.num_bytes == kInZip64 || local == kInZip64) {
      refuse(entry.name, "larger than 4 GiB", "safetensors holds tensors of any size");
    }
    if (local + kLocal_bytes > end || std::memcmp(bytes_.data() + local, "PK\x03\x04", 4) != 0) {
      refuse(entry.name, cat("expected its bytes at ", local, ", they are not there"));
    }
    entry.begin = local + kLocal_bytes + little_endian(bytes_, local + 26, 2) +
                  little_endian(bytes_, local + 28, 2);
    if (entry.begin + entry.stored_bytes > end) refuse(entry.name, "its bytes are cut short");
    if (!entry.deflated && entry.stored_bytes != entry.num_bytes) {
      refuse(entry.name,
             cat("is stored in ", entry.stored_bytes, " bytes, expected ", entry.num_bytes));
    }
    entries_.push_back(std::move(entry));
  }

  void read_header(Entry& entry) {
    std::string start(std::min<std::uint64_t>(entry.num_bytes, kMaxNpyHeader_bytes), '\0');
    Unpacker unpacker(stored(entry), entry.deflated);
    start.resize(unpacker.read(start.data(), start.size()));
    entry.header = read_npy_header(cat(source_, ": '", printable(entry.name), "'"), start);
    const auto numbers = static_cast<std::uint64_t>(entry.header.type.bytes());
    if (entry.header.num_bytes + numbers != entry.num_bytes) {
      refuse(entry.name, cat(entry.num_bytes, " bytes, expected ", entry.header.num_bytes + numbers,
                             " for ", entry.header.type.text()));
    }
  }

  std::string source_, bytes_;
  std::vector<Entry> entries_;
  std::map<std::string, tensor::TensorType> types_;
};

}  // namespace

std::unique_ptr<WeightsFile> read_npz(const std::string& source, std::string bytes) {
  return std::make_unique<NpzFile>(source, std::move(bytes));
}

}  // namespace dlt::weights
