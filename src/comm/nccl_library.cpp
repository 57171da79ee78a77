// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl_library.h"

#include "base/error.h"
#include "base/plugin.h"
#include "base/text.h"

namespace dlt::comm {
namespace {

/// The library file with what it has made.
struct Loaded {
  Plugin file{"libdltrain_nccl.so"};
  std::unique_ptr<NcclLibrary> library;
};

}  // namespace

NcclFound find_nccl() {
  try {
    const auto loaded = std::make_shared<Loaded>();
    using Fill = void (*)(NcclPlugin*);
    const auto fill = reinterpret_cast<Fill>(loaded->file.function("dltrain_nccl_plugin"));
    NcclPlugin plugin;
    fill(&plugin);
    if (plugin.interface != NcclPlugin::kInterface) {
      return {.why_not = cat("libdltrain_nccl.so has interface ", plugin.interface, ", expected ",
                             NcclPlugin::kInterface, ": it belongs to another version of dltrain")};
    }
    loaded->library = plugin.make();
    // Who holds the library, a hung call among them, also holds the file.
    return {.library = {loaded, loaded->library.get()}};
  } catch (const Error& error) {
    return {.why_not = error.what()};
  }
}

std::string nccl_version_text(int version) {
  return cat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

}  // namespace dlt::comm
