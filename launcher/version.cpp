// SPDX-License-Identifier: Apache-2.0
#include "launcher/version.h"

#include <cstdint>
#include <cstring>

#include <link.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt::launcher {
namespace {

/// A note of the executable: name and contents follow the header, each padded to 4 bytes.
std::string build_id_of(const ElfW(Phdr) & segment, ElfW(Addr) base) {
  const auto* at = reinterpret_cast<const unsigned char*>(base + segment.p_vaddr);
  const auto* const end = at + segment.p_memsz;
  while (at + sizeof(ElfW(Nhdr)) <= end) {
    ElfW(Nhdr) header;
    std::memcpy(&header, at, sizeof header);
    const auto* name = at + sizeof header;
    const auto* contents = name + ((header.n_namesz + 3U) & ~3U);
    const auto* next = contents + ((header.n_descsz + 3U) & ~3U);
    if (next > end) break;
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 &&
        std::memcmp(name, "GNU", 4) == 0) {
      static constexpr char kDigits[] = "0123456789abcdef";
      std::string hex;
      for (std::uint32_t i = 0; i < header.n_descsz; ++i) {
        hex += kDigits[contents[i] >> 4];
        hex += kDigits[contents[i] & 15U];
      }
      return hex;
    }
    at = next;
  }
  return {};
}

int take_first_object(dl_phdr_info* info, std::size_t, void* out) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type != PT_NOTE) continue;
    const std::string hex = build_id_of(info->dlpi_phdr[i], info->dlpi_addr);
    if (!hex.empty()) *static_cast<std::string*>(out) = hex;
  }
  return 1;  // the first object is the executable; look no further
}

}  // namespace

std::string program_version() {
  const std::string revision = DLTRAIN_GIT_REVISION;
  return cat("dltrain " DLTRAIN_VERSION, revision.empty() ? "" : cat(" (git ", revision, ")"));
}

std::string build_description() {
#ifdef __clang__
  const std::string compiler = cat("clang++ ", __clang_version__);
#else
  const std::string compiler = cat("g++ ", __VERSION__);
#endif
  return cat(compiler, ", " DLTRAIN_BUILD_TYPE);
}

std::string library_versions() { return DLTRAIN_LIBRARIES; }

std::string program_hash() {
  std::string out;
  dl_iterate_phdr(take_first_object, &out);
  DLT_CHECK(!out.empty(), "the program has no build id; link with -Wl,--build-id");
  return out;
}

}  // namespace dlt::launcher
