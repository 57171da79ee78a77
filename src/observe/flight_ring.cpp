// SPDX-License-Identifier: Apache-2.0
// The file, in this machine's byte order, for it never leaves the machine: a header of 8192 bytes
// (Header), then kNum_events entries of 64 bytes (Entry). The event with number n, counted from 0,
// stands in entry n % kNum_events.
#include "observe/flight_ring.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>
#include <optional>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/private_dir.h"
#include "base/text.h"

namespace dlt::observe {
namespace {

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8);

constexpr std::uint64_t kMagic = 0x31474e4952544c44;  // "DLTRING1": the last digit is the version
constexpr std::size_t kText_bytes = 32;               // of a note in one entry
constexpr std::size_t kMax_note_bytes = 6 * kText_bytes;
constexpr std::size_t kMax_failure_bytes = 4000;
constexpr std::uint8_t kText_kind = 4;  // an entry that goes on with a note

/// Text that is written once: its state becomes 2 when all of it is there.
template <std::size_t Size>
struct Text {
  std::atomic<std::uint32_t> state;  // 0: none, 1: being written, 2: complete
  std::uint32_t num_bytes;
  std::array<char, Size> bytes;

  void set(std::string_view text) noexcept {
    std::uint32_t none = 0;
    if (!state.compare_exchange_strong(none, 1)) return;
    num_bytes = static_cast<std::uint32_t>(std::min(text.size(), Size));
    std::memcpy(bytes.data(), text.data(), num_bytes);
    state.store(2, std::memory_order_release);
  }
};

struct Header {
  Word magic;  // written last
  std::int64_t pid;
  std::int64_t generation;
  std::int32_t rank;
  std::int32_t num_events;
  std::array<char, 256> host;  // ended by a NUL
  Text<1024> file;
  Text<kMax_failure_bytes> failure;
  alignas(64) Word num_claimed;  // numbers of events given out
};
constexpr std::size_t kHeader_bytes = 8192;
static_assert(sizeof(Header) <= kHeader_bytes && std::is_trivially_destructible_v<Header>);

/// Torn if number or check do not fit. All words are atomic since a writer may be so late that
/// another one is at the same entry again.
struct Entry {
  Word number_plus_1;  // 0: being written
  Word time_ns;
  Word kind;                 // and what fits beside it: pack()
  std::array<Word, 4> body;  // mark: step, row, bucket and leaf; note: text
  Word check;
};
static_assert(sizeof(Entry) == 64);

constexpr std::size_t kNum_entries = FlightRing::kNum_events;
constexpr std::size_t kFile_bytes = kHeader_bytes + kNum_entries * sizeof(Entry);

/// An entry's numbers outside shared memory.
struct Plain {
  std::uint64_t number_plus_1 = 0, time_ns = 0, kind = 0;
  std::array<std::uint64_t, 4> body{};
  std::uint64_t check = 0;
};
static_assert(sizeof(Plain) == sizeof(Entry));

std::uint64_t check_of(const Plain& plain) {
  return plain.number_plus_1 * 0x9e3779b97f4a7c15 + plain.time_ns * 0xbf58476d1ce4e5b9 +
         plain.kind * 0x94d049bb133111eb + plain.body[0] * 0xd6e8feb86659fd93 +
         plain.body[1] * 0xa0761d6478bd642f + plain.body[2] * 0xe7037ed1a0b428db +
         plain.body[3] * 0x8ebc6af09c88c6e3 + 0x589965cc75374cc3;
}

std::uint64_t pack(std::uint8_t kind, std::uint8_t detail, std::size_t num_bytes = 0) {
  return kind | std::uint64_t{detail} << 8 | std::uint64_t{num_bytes} << 16;
}

std::uint64_t pack(std::int32_t low, std::int32_t high) {
  return static_cast<std::uint32_t>(low) | std::uint64_t{static_cast<std::uint32_t>(high)} << 32;
}

std::uint64_t as_ns(double mono_s) {
  return mono_s > 0 && mono_s < 9e9 ? static_cast<std::uint64_t>(mono_s * 1e9) : 0;
}

[[noreturn]] void fail(const std::string& path, const char* call, int code) {
  throw Error(Exit::io, cat(path, ": ", call, ": ", std::strerror(code)));
}

/// The file with all its memory, or, without a path, memory alone. A full file system is to be
/// noticed here, not by a SIGBUS.
void* make_file(const std::string& path) {
  if (path.empty()) {
    void* memory =
        ::mmap(nullptr, kFile_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("flight ring", "mmap", errno);
    return memory;
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) fail(path, "unlink", errno);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) fail(path, "open", errno);
  const int full = ::posix_fallocate(fd, 0, static_cast<off_t>(kFile_bytes));
  void* memory = full != 0
                     ? MAP_FAILED
                     : ::mmap(nullptr, kFile_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int code = full != 0 ? full : errno;
  ::close(fd);
  if (memory != MAP_FAILED) return memory;
  ::unlink(path.c_str());
  fail(path, full != 0 ? "posix_fallocate" : "mmap", code);
}

}  // namespace

struct FlightRing::Impl {
  Impl(const std::string& path, const RingOwner& owner) : memory(make_file(path)) {
    header = new (memory) Header{};
    header->pid = owner.pid;
    header->generation = owner.generation;
    header->rank = owner.rank;
    header->num_events = static_cast<std::int32_t>(kNum_entries);
    owner.host.copy(header->host.data(), header->host.size() - 1);
    entries = new (static_cast<std::byte*>(memory) + kHeader_bytes) Entry[kNum_entries]{};
    header->magic.store(kMagic, std::memory_order_release);
  }
  ~Impl() { ::munmap(memory, kFile_bytes); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::uint64_t claim(std::uint64_t num_events) noexcept {
    return header->num_claimed.fetch_add(num_events, std::memory_order_relaxed);
  }

  void write(std::uint64_t number, Plain plain) noexcept {
    plain.number_plus_1 = number + 1;
    Entry& entry = entries[number % kNum_entries];
    const auto put = [](Word& word, std::uint64_t value) {
      word.store(value, std::memory_order_relaxed);
    };
    put(entry.number_plus_1, 0);
    put(entry.time_ns, plain.time_ns);
    put(entry.kind, plain.kind);
    for (std::size_t i = 0; i < plain.body.size(); ++i) put(entry.body[i], plain.body[i]);
    put(entry.check, check_of(plain));
    entry.number_plus_1.store(plain.number_plus_1, std::memory_order_release);
  }

  void* memory;
  Header* header = nullptr;
  Entry* entries = nullptr;
};

FlightRing::FlightRing(const std::string& memory_dir, const RingOwner& owner) {
  make_private_directory(memory_dir);
  impl_ = std::make_unique<Impl>(ring_path(memory_dir, owner.rank), owner);
}

FlightRing::FlightRing(const RingOwner& owner) : impl_(std::make_unique<Impl>("", owner)) {}

FlightRing::~FlightRing() = default;

void FlightRing::mark(double mono_s, const Mark& mark) noexcept {
  impl_->write(impl_->claim(1),
               {.time_ns = as_ns(mono_s),
                .kind = pack(static_cast<std::uint8_t>(RingEventKind::mark),
                             static_cast<std::uint8_t>(mark.phase)),
                .body = {static_cast<std::uint64_t>(mark.step),
                         static_cast<std::uint64_t>(mark.row), pack(mark.bucket, mark.leaf), 0}});
}

void FlightRing::saved(double mono_s, SavedIn where, std::int64_t step) noexcept {
  impl_->write(impl_->claim(1), {.time_ns = as_ns(mono_s),
                                 .kind = pack(static_cast<std::uint8_t>(RingEventKind::saved),
                                              static_cast<std::uint8_t>(where)),
                                 .body = {static_cast<std::uint64_t>(step), 0, 0, 0}});
}

void FlightRing::note(double mono_s, std::string_view text) noexcept {
  text = text.substr(0, kMax_note_bytes);
  const std::uint64_t num_parts = std::max<std::size_t>(1, (text.size() + 31) / kText_bytes);
  const std::uint64_t first = impl_->claim(num_parts);
  for (std::uint64_t part = 0; part < num_parts; ++part) {
    Plain plain{
        .time_ns = as_ns(mono_s),
        .kind = pack(part == 0 ? static_cast<std::uint8_t>(RingEventKind::note) : kText_kind, 0,
                     text.size())};
    const std::string_view piece = text.substr(part * kText_bytes, kText_bytes);
    std::memcpy(plain.body.data(), piece.data(), piece.size());
    impl_->write(first + part, plain);
  }
}

void FlightRing::set_file(std::string_view path) noexcept { impl_->header->file.set(path); }

void FlightRing::set_failure(std::string_view text) noexcept { impl_->header->failure.set(text); }

std::string ring_path(const std::string& memory_dir, std::int32_t rank) {
  return cat(memory_dir, "/ring-", rank);
}

// ---- reading ------------------------------------------------------------------------------------

namespace {

/// Numbers of the file that need not be aligned in memory.
template <typename T>
T at(const std::string& bytes, std::size_t offset) {
  T out;
  std::memcpy(&out, bytes.data() + offset, sizeof out);
  return out;
}

/// Control characters are escaped, but for the line ends of a text of several lines.
std::string fit_to_print(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out += printable(text.substr(0, end), 4 * kMax_failure_bytes);
    if (end < text.size()) out += '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

template <std::size_t Size>
std::string text_at(const std::string& bytes, std::size_t offset) {
  const auto size = at<std::uint32_t>(bytes, offset + sizeof(std::uint32_t));
  if (at<std::uint32_t>(bytes, offset) != 2 || size > Size) return "";
  return fit_to_print(std::string_view(bytes).substr(offset + 2 * sizeof(std::uint32_t), size));
}

/// Nothing if the numbers cannot be.
std::optional<RingEvent> decode(const Plain& plain) {
  RingEvent out;
  out.mono_s = static_cast<double>(plain.time_ns) * 1e-9;
  const auto kind = static_cast<std::uint8_t>(plain.kind);
  const auto detail = static_cast<std::uint8_t>(plain.kind >> 8);
  const auto step = static_cast<std::int64_t>(plain.body[0]);
  out.kind = static_cast<RingEventKind>(kind);
  if (out.kind == RingEventKind::note) return out;
  out.mark.step = step;
  if (out.kind == RingEventKind::saved) {
    out.saved_in = static_cast<SavedIn>(detail);
    if (detail > static_cast<std::uint8_t>(SavedIn::disk) || step < 0) return std::nullopt;
    return out;
  }
  if (out.kind != RingEventKind::mark || detail >= kPhaseNames.size() || step < 0) {
    return std::nullopt;
  }
  out.mark.phase = static_cast<Phase>(detail);
  out.mark.row = static_cast<std::int64_t>(plain.body[1]);
  out.mark.bucket = static_cast<std::int32_t>(static_cast<std::uint32_t>(plain.body[2]));
  out.mark.leaf = static_cast<std::int32_t>(plain.body[2] >> 32);
  if (out.mark.row < -1 || out.mark.bucket < -1 || out.mark.leaf < -1) return std::nullopt;
  return out;
}

/// The text of the note at `first` of entries in the order of their numbers.
std::string note_text(const std::vector<Plain>& entries, std::size_t first) {
  const std::size_t size = std::min<std::size_t>(entries[first].kind >> 16, kMax_note_bytes);
  std::string text;
  for (std::size_t i = first; i < entries.size() && text.size() < size; ++i) {
    const bool follows = static_cast<std::uint8_t>(entries[i].kind) == kText_kind &&
                         entries[i].number_plus_1 == entries[first].number_plus_1 + (i - first);
    if (i != first && !follows) break;
    text.append(reinterpret_cast<const char*>(entries[i].body.data()), kText_bytes);
  }
  text.resize(std::min(text.size(), size));
  return printable(text, 4 * kMax_note_bytes);
}

std::vector<Plain> whole_entries(const std::string& bytes, RingContents& out) {
  std::vector<Plain> entries;
  for (std::size_t i = 0; i < kNum_entries; ++i) {
    const auto plain = at<Plain>(bytes, kHeader_bytes + i * sizeof(Entry));
    const bool whole = plain.number_plus_1 != 0 && plain.number_plus_1 <= INT64_MAX &&
                       (plain.number_plus_1 - 1) % kNum_entries == i &&
                       plain.check == check_of(plain);
    if (whole) {
      entries.push_back(plain);
    } else if (out.num_written > static_cast<std::int64_t>(i)) {
      ++out.num_torn;
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const Plain& a, const Plain& b) { return a.number_plus_1 < b.number_plus_1; });
  return entries;
}

}  // namespace

std::optional<RingEvent> FlightRing::newest_mark() const noexcept {
  const std::uint64_t num_claimed = impl_->header->num_claimed.load(std::memory_order_relaxed);
  for (std::uint64_t back = 1; back <= std::min<std::uint64_t>(num_claimed, 64); ++back) {
    const Entry& entry = impl_->entries[(num_claimed - back) % kNum_entries];
    Plain plain{.number_plus_1 = entry.number_plus_1.load(std::memory_order_acquire),
                .time_ns = entry.time_ns.load(std::memory_order_relaxed),
                .kind = entry.kind.load(std::memory_order_relaxed),
                .check = entry.check.load(std::memory_order_relaxed)};
    for (std::size_t i = 0; i < plain.body.size(); ++i) {
      plain.body[i] = entry.body[i].load(std::memory_order_relaxed);
    }
    if (plain.number_plus_1 == 0 || plain.check != check_of(plain)) continue;
    const std::optional<RingEvent> event = decode(plain);
    if (event && event->kind == RingEventKind::mark) return event;
  }
  return std::nullopt;
}

RingContents read_ring(const std::string& path) {
  return parse_ring(path, read_file(path, {.max_bytes = kFile_bytes, .nofollow = true}));
}

RingContents parse_ring(const std::string& source, const std::string& bytes) {
  if (bytes.size() != kFile_bytes || at<std::uint64_t>(bytes, offsetof(Header, magic)) != kMagic ||
      at<std::int32_t>(bytes, offsetof(Header, num_events)) != FlightRing::kNum_events) {
    throw Error(Exit::data, cat(source, ": expected a flight ring of this version"));
  }
  RingContents out;
  out.owner.rank = at<std::int32_t>(bytes, offsetof(Header, rank));
  out.owner.pid = at<std::int64_t>(bytes, offsetof(Header, pid));
  out.owner.generation = at<std::int64_t>(bytes, offsetof(Header, generation));
  if (out.owner.rank < 0 || out.owner.pid < 0 || out.owner.generation < 0) {
    throw Error(Exit::data, cat(source, ": expected the ring of a rank"));
  }
  const std::string_view host(bytes.data() + offsetof(Header, host), sizeof(Header::host));
  out.owner.host = printable(host.substr(0, host.find('\0')), host.size());
  out.file = text_at<1024>(bytes, offsetof(Header, file));
  out.failure = text_at<kMax_failure_bytes>(bytes, offsetof(Header, failure));
  const auto claimed = at<std::uint64_t>(bytes, offsetof(Header, num_claimed));
  out.num_written = static_cast<std::int64_t>(std::min<std::uint64_t>(claimed, INT64_MAX));
  const std::vector<Plain> entries = whole_entries(bytes, out);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (static_cast<std::uint8_t>(entries[i].kind) == kText_kind) continue;
    std::optional<RingEvent> event = decode(entries[i]);
    if (!event) {
      ++out.num_torn;
      continue;
    }
    if (event->kind == RingEventKind::note) event->text = note_text(entries, i);
    out.events.push_back(std::move(*event));
  }
  return out;
}

}  // namespace dlt::observe
