// SPDX-License-Identifier: Apache-2.0
#include "import/file_tree.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"

namespace dlt::import_ {

namespace fs = std::filesystem;

bool ends_with_one_of(const std::string& path, Endings endings) {
  std::string ending = fs::path(path).extension().string();
  for (char& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return std::find(endings.begin(), endings.end(), ending) != endings.end();
}

std::vector<std::string> files_below(const std::string& folder, Endings endings) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    std::string path = it->path().string();
    if (!it->is_directory() && ends_with_one_of(path, endings)) out.push_back(std::move(path));
  }
  if (error) cannot_list(folder, error);
  std::sort(out.begin(), out.end());
  return out;
}

void cannot_list(const std::string& folder, const std::error_code& error) {
  throw Error(error == std::errc::no_such_file_or_directory ? Exit::missing : Exit::data,
              cat(printable(folder, 200), ": cannot be listed: ", error.message()));
}

}  // namespace dlt::import_
