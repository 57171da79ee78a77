// SPDX-License-Identifier: Apache-2.0
#include "base/private_dir.h"

#include <cerrno>
#include <cstring>

#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt {

void make_private_directory(const std::string& path) {
  const bool made = ::mkdir(path.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) {
    throw Error(Exit::io, cat(path, ": mkdir: ", std::strerror(errno)));
  }
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) {
    throw Error(Exit::io, cat(path, ": lstat: ", std::strerror(errno)));
  }
  const auto refuse = [&](const std::string& what) {
    throw Error(Exit::denied, cat(path, ": expected a folder of this user alone, got ", what),
                "remove it: somebody else may have put it there");
  };
  if (!S_ISDIR(found.st_mode)) refuse(S_ISLNK(found.st_mode) ? "a link" : "something else");
  if (found.st_uid != ::geteuid()) refuse(cat("one of user ", found.st_uid));
  if ((found.st_mode & 077) != 0) refuse("one that others may use");
}

}  // namespace dlt
