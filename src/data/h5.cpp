// SPDX-License-Identifier: Apache-2.0
#include "data/h5.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <set>
#include <string_view>

#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt::data::h5 {
namespace {

static_assert(sizeof(hid_t) == sizeof(std::int64_t), "HDF5 1.10 or later is needed");

constexpr int kMaxLinkHops = 32;
constexpr int kMaxGroupDepth = 32;

std::recursive_mutex& library_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

herr_t keep_innermost(unsigned, const H5E_error2_t* error, void* text) {
  if (error->desc != nullptr && error->desc[0] != '\0') {
    *static_cast<std::string*>(text) = error->desc;
  }
  return 0;
}

/// The signature lies at byte 0, 512, 1024, 2048, ... (a user block may come before it).
bool has_signature(int fd, std::int64_t file_bytes) {
  constexpr std::array<char, 8> kSignature = {'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};
  for (std::int64_t at = 0; at + 8 <= file_bytes; at = at == 0 ? 512 : at * 2) {
    std::array<char, 8> bytes{};
    if (pread(fd, bytes.data(), bytes.size(), at) == 8 && bytes == kSignature) return true;
  }
  return false;
}

void check_regular_hdf5(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    const int code = errno;
    if (code == ENOENT || code == ENOTDIR) throw Error(Exit::missing, cat(path, ": no such file"));
    throw Error(code == ENXIO ? Exit::data : Exit::missing,
                cat(path, ": cannot be opened: ", std::strerror(code)));
  }
  struct stat info {};
  const bool known = fstat(fd, &info) == 0;
  const bool regular = known && S_ISREG(info.st_mode);
  const bool signed_ = regular && has_signature(fd, info.st_size);
  close(fd);
  if (known && S_ISDIR(info.st_mode)) {
    throw Error(Exit::data, cat(path, ": is a directory, expected an HDF5 file"));
  }
  if (!regular) throw Error(Exit::data, cat(path, ": not a regular file, expected an HDF5 file"));
  if (info.st_size == 0) throw Error(Exit::data, cat(path, ": is empty, expected an HDF5 file"));
  if (!signed_) {
    throw Error(Exit::data, cat(path, ": not an HDF5 file (its signature is missing)"),
                "convert it with 'dltrain data import'");
  }
}

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin < path.size()) {
    std::size_t end = path.find('/', begin);
    if (end == std::string_view::npos) end = path.size();
    const std::string_view part = path.substr(begin, end - begin);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    begin = end + 1;
  }
  return parts;
}

[[noreturn]] void refuse_missing(const Handle& file, const std::string& file_name,
                                 const std::string& name) {
  const Listing listing = list_datasets(file);
  std::vector<std::string> shown = listing.datasets;
  const std::string close_name = nearest(name, shown);
  if (shown.size() > 20) {
    shown.resize(20);
    shown.emplace_back("...");
  }
  for (std::string& item : shown) item = printable(item);
  std::string what = cat(file_name, ": no data set '", printable(name), "'; there ",
                         shown.empty() ? "are none" : cat("are: ", join(shown)));
  throw Error(Exit::data, what,
              close_name.empty() ? "" : cat("did you mean '", printable(close_name), "'?"));
}

std::string soft_target(const Handle& file, const std::string& path, std::size_t length) {
  std::string target(std::min<std::size_t>(length, 4096), '\0');
  if (H5Lget_val(file.id(), path.c_str(), target.data(), target.size(), H5P_DEFAULT) < 0) return "";
  return target.c_str();
}

/// Walks the path link by link, so that no link leads out of the file; returns the path of hard
/// links only.
std::string resolve(const Handle& file, const std::string& file_name, const std::string& name) {
  const std::vector<std::string> parts = split_path(name);
  std::deque<std::string> rest(parts.begin(), parts.end());
  std::string at;
  int hops = 0;
  while (!rest.empty()) {
    const std::string next = cat(at, "/", rest.front());
    rest.pop_front();
    H5L_info_t link{};
    if (H5Lget_info(file.id(), next.c_str(), &link, H5P_DEFAULT) < 0) {
      refuse_missing(file, file_name, name);
    }
    if (link.type == H5L_TYPE_HARD) {
      at = next;
      continue;
    }
    if (link.type != H5L_TYPE_SOFT) {
      throw Error(Exit::data,
                  cat(file_name, ": '", printable(name), "': '", printable(next),
                      "' is an external link, which leads out of the file; expected "
                      "the data in the file itself"),
                  "copy the data into one file, for example with h5repack or h5copy");
    }
    const std::string target = soft_target(file, next, link.u.val_size);
    if (++hops > kMaxLinkHops || target.empty()) {
      throw Error(Exit::data, cat(file_name, ": '", printable(name),
                                  "': its soft links lead nowhere or in a circle"));
    }
    if (target.front() == '/') at.clear();
    const std::vector<std::string> more = split_path(target);
    rest.insert(rest.begin(), more.begin(), more.end());
  }
  return at.empty() ? "/" : at;
}

struct Walk {
  Listing listing;
  std::set<std::pair<unsigned long, haddr_t>> seen;  // groups, by address: hard links may circle
  std::size_t max_count = 0;
  std::size_t budget = 100000;  // links looked at
  std::string prefix;
  int depth = 0;
};

herr_t visit_link(hid_t group, const char* name, const H5L_info_t* link, void* data);

void walk_group(hid_t group, Walk& walk) {
  if (walk.depth > kMaxGroupDepth) {
    walk.listing.cut = true;
    return;
  }
  hsize_t index = 0;
  H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, &index, visit_link, &walk);
}

void visit_object(hid_t parent, const char* name, const std::string& path, Walk& walk) {
  const Handle object(H5Oopen(parent, name, H5P_DEFAULT), H5Oclose);
  if (!object.valid()) {
    walk.listing.skipped.push_back(path + " (damaged)");
    return;
  }
  const H5I_type_t type = H5Iget_type(object.id());
  if (type == H5I_DATASET) walk.listing.datasets.push_back(path);
  if (type != H5I_GROUP) return;
  H5O_info_t info{};
  if (H5Oget_info2(object.id(), &info, H5O_INFO_BASIC) < 0) return;
  if (!walk.seen.insert({info.fileno, info.addr}).second) return;
  const std::string outer = std::exchange(walk.prefix, path);
  ++walk.depth;
  walk_group(object.id(), walk);
  --walk.depth;
  walk.prefix = outer;
}

herr_t visit_link(hid_t group, const char* name, const H5L_info_t* link, void* data) {
  Walk& walk = *static_cast<Walk*>(data);
  if (walk.budget == 0 ||
      walk.listing.datasets.size() + walk.listing.skipped.size() >= walk.max_count) {
    walk.listing.cut = true;
    return 1;
  }
  --walk.budget;
  const std::string path = cat(walk.prefix, "/", name);
  if (link->type == H5L_TYPE_HARD) {
    visit_object(group, name, path, walk);
  } else {
    walk.listing.skipped.push_back(
        path + (link->type == H5L_TYPE_SOFT ? " (soft link)" : " (external link, not followed)"));
  }
  return 0;
}

}  // namespace

Lock::Lock() : lock_(library_mutex()) {
  // Both settings are cheap; the first belongs to each thread.
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
}

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    reset();
    id_ = std::exchange(other.id_, -1);
    close_ = other.close_;
  }
  return *this;
}

void Handle::reset() {
  if (id_ < 0) return;
  const Lock lock;
  close_(id_);
  id_ = -1;
}

std::string last_error() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, &text);
  return printable(text, 160);
}

Handle open_file(const std::string& path) {
  check_regular_hdf5(path);
  const Lock lock;
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
  H5Pset_file_locking(access.id(), true, true);
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()), H5Fclose);
  if (!file.valid()) {
    const std::string reason = last_error();
    throw Error(Exit::data, cat(path, ": the HDF5 file is damaged or cut short",
                                reason.empty() ? "" : cat(" (HDF5: ", reason, ")")));
  }
  return file;
}

Handle open_link(const Handle& file, const std::string& file_name, const std::string& name,
                 std::int64_t chunk_cache_bytes) {
  const Lock lock;
  const std::string path = resolve(file, file_name, name);
  const Handle object(H5Oopen(file.id(), path.c_str(), H5P_DEFAULT), H5Oclose);
  if (!object.valid()) {
    throw Error(Exit::data,
                cat(file_name, ": '", printable(name), "' is damaged (HDF5: ", last_error(), ")"));
  }
  if (H5Iget_type(object.id()) == H5I_GROUP) {
    const Listing listing = list_datasets(file, 1000);
    std::vector<std::string> inside;
    const std::string prefix = path == "/" ? "/" : path + "/";
    for (const std::string& item : listing.datasets) {
      if (item.starts_with(prefix) && inside.size() < 20) inside.push_back(printable(item));
    }
    throw Error(Exit::data, cat(file_name, ": '", printable(name),
                                "' is a group, expected a data set; in it there ",
                                inside.empty() ? "are none" : cat("are: ", join(inside))));
  }
  if (H5Iget_type(object.id()) != H5I_DATASET) {
    throw Error(Exit::data, cat(file_name, ": '", printable(name), "' is not a data set"));
  }
  const Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_chunk_cache(access.id(), 12421, static_cast<std::size_t>(chunk_cache_bytes), 1.0);
  Handle dataset(H5Dopen2(file.id(), path.c_str(), access.id()), H5Dclose);
  if (!dataset.valid()) {
    throw Error(Exit::data,
                cat(file_name, ": '", printable(name), "' is damaged (HDF5: ", last_error(), ")"));
  }
  return dataset;
}

Listing list_datasets(const Handle& file, std::size_t max_count) {
  const Lock lock;
  Walk walk;
  walk.max_count = max_count;
  const Handle root(H5Gopen2(file.id(), "/", H5P_DEFAULT), H5Gclose);
  if (!root.valid()) return {};
  H5O_info_t info{};
  if (H5Oget_info2(root.id(), &info, H5O_INFO_BASIC) >= 0) {
    walk.seen.insert({info.fileno, info.addr});
  }
  walk_group(root.id(), walk);
  return std::move(walk.listing);
}

}  // namespace dlt::data::h5
