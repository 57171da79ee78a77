// SPDX-License-Identifier: Apache-2.0
#include "import/source_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt::import_ {
namespace {

constexpr std::int64_t kPiece_bytes = 4 << 20;
constexpr std::int64_t kMaxText_bytes = std::int64_t{1} << 33;

gzFile gz(void* handle) { return static_cast<gzFile>(handle); }

}  // namespace

SourceFile::SourceFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    const int code = errno;
    if (code == ENOENT || code == ENOTDIR) throw Error(Exit::missing, cat(path, ": no such file"));
    throw Error(code == ENXIO ? Exit::data : Exit::missing,
                cat(path, ": cannot be opened: ", std::strerror(code)));
  }
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    throw Error(Exit::data, cat(path, ": not a regular file"));
  }
  gz_ = ::gzdopen(fd, "rb");
  if (gz_ == nullptr) {
    ::close(fd);
    throw Error(Exit::internal, cat(path, ": gzdopen failed"));
  }
  ::gzbuffer(gz(gz_), 256 << 10);
}

SourceFile::~SourceFile() {
  if (gz_ != nullptr) ::gzclose_r(gz(gz_));
}

std::int64_t SourceFile::read_some(std::byte* out, std::int64_t num_bytes) {
  std::int64_t done = 0;
  while (done < num_bytes) {
    const auto piece = static_cast<unsigned>(std::min(kPiece_bytes, num_bytes - done));
    const int got = ::gzread(gz(gz_), out + done, piece);
    int code = Z_OK;
    const char* const reason = ::gzerror(gz(gz_), &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
      throw Error(Exit::data,
                  cat(path_, ": the gzip file is damaged or cut short after ",
                      position_ + std::max(0, got), " unpacked bytes (zlib: ", reason, ")"));
    }
    if (got == 0) break;
    done += got;
    position_ += got;
    if (position_ > kMaxSource_bytes) {
      throw Error(Exit::data, cat(path_, ": more than ", kMaxSource_bytes, " bytes"));
    }
  }
  return done;
}

std::vector<std::byte> SourceFile::read_exactly(std::int64_t num_bytes, const char* what) {
  const std::int64_t begin = position_;
  std::vector<std::byte> out;
  while (static_cast<std::int64_t>(out.size()) < num_bytes) {
    const auto have = static_cast<std::int64_t>(out.size());
    const std::int64_t wanted =
        std::min(num_bytes - have, std::max(kPiece_bytes, have));  // doubles at most
    out.resize(static_cast<std::size_t>(have + wanted));
    const std::int64_t got = read_some(out.data() + have, wanted);
    if (got == wanted) continue;
    throw Error(Exit::data, cat(path_, ": ends at byte ", position_, ", expected ", what,
                                " to take ", num_bytes, " bytes from byte ", begin));
  }
  return out;
}

void SourceFile::expect_end() {
  std::byte extra{};
  const std::int64_t end = position_;
  if (read_some(&extra, 1) != 0) {
    throw Error(Exit::data, cat(path_, ": goes on after byte ", end, ", where its header ends it"));
  }
}

std::string read_whole(const std::string& path) {
  SourceFile file(path);
  std::string text;
  while (true) {
    const std::size_t have = text.size();
    const std::size_t piece = std::clamp<std::size_t>(have, 64 << 10, 8 << 20);
    text.resize(have + piece);
    const std::int64_t got = file.read_some(reinterpret_cast<std::byte*>(text.data() + have),
                                            static_cast<std::int64_t>(piece));
    text.resize(have + static_cast<std::size_t>(got));
    if (got < static_cast<std::int64_t>(piece)) return text;
    if (static_cast<std::int64_t>(text.size()) > kMaxText_bytes) {
      throw Error(Exit::data, cat(path, ": more than ", kMaxText_bytes, " bytes of text"));
    }
  }
}

}  // namespace dlt::import_
