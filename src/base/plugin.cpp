// SPDX-License-Identifier: Apache-2.0
#include "base/plugin.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include <dlfcn.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt {
namespace {

std::vector<std::string> places(const std::string& file_name) {
  std::error_code ignored;
  const std::filesystem::path program =
      std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  return {(program / file_name).string(),
          (program / ".." / "lib" / "dltrain" / file_name).lexically_normal().string()};
}

}  // namespace

bool library_exists(const char* name) {
  void* library = ::dlopen(name, RTLD_LAZY | RTLD_LOCAL);
  if (library != nullptr) (void)::dlclose(library);
  return library != nullptr;
}

void Plugin::Close::operator()(void* library) const { (void)::dlclose(library); }

Plugin::Plugin(const std::string& file_name) {
  const std::vector<std::string> looked_for = places(file_name);
  for (const std::string& path : looked_for) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) continue;
    path_ = path;
    library_.reset(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL));
    if (library_ != nullptr) return;
    throw Error(Exit::unavailable, cat(path, ": cannot be opened: ", ::dlerror()));
  }
  throw Error(Exit::unavailable,
              cat(file_name, ": not found: looked for ", join(looked_for, " and ")));
}

void* Plugin::function(const char* name) const {
  void* found = ::dlsym(library_.get(), name);
  if (found == nullptr) {
    throw Error(Exit::unavailable, cat(path_, ": has no function ", name),
                "it belongs to another version of dltrain");
  }
  return found;
}

}  // namespace dlt
