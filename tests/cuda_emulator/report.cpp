// SPDX-License-Identifier: Apache-2.0
#include "cuda_emulator/report.h"

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include "cuda_emulator/emulator.h"

namespace dlt::emulator {

void fail(const std::string& text) {
  std::fprintf(stderr, "cuda emulator: %s\n  again: DLT_EMULATOR_SEED=%llu\n", text.c_str(),
               static_cast<unsigned long long>(seed()));
  std::fflush(nullptr);
  std::abort();
}

std::string function_name(const void* address) {
  Dl_info info{};
  link_map* map = nullptr;
  if (dladdr1(address, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0) return "?";
  std::array<char, 128> where{};
  std::snprintf(
      where.data(), where.size(), " 0x%llx 2>/dev/null",
      static_cast<unsigned long long>(reinterpret_cast<std::uintptr_t>(address) - map->l_addr));
  const std::string file =
      map->l_name[0] != '\0' ? map->l_name : "/proc/" + std::to_string(getpid()) + "/exe";
  const std::string command = "addr2line -f -C -e '" + file + "'" + where.data();
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), &pclose);
  std::array<char, 512> line{};
  if (pipe == nullptr ||
      std::fgets(line.data(), static_cast<int>(line.size()), pipe.get()) == nullptr) {
    return where.data();
  }
  std::string name = line.data();
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}

}  // namespace dlt::emulator
