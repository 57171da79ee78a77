// SPDX-License-Identifier: Apache-2.0
// Thin RAII over the HDF5 C library, and the checks that every reader of a file makes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "tensor/shape.h"

namespace dlt::data::h5 {

/// Held around every call of the HDF5 library: one mutex for the whole process, which its holder
/// may take again. Making it also keeps the library from printing its error stack and from loading
/// plug-ins. The functions below take it themselves.
class Lock {
 public:
  Lock();

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

/// Owns one HDF5 id and closes it.
class Handle {
 public:
  using Close = int (*)(std::int64_t);
  Handle() = default;
  Handle(std::int64_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept;
  ~Handle() { reset(); }
  void reset();
  [[nodiscard]] std::int64_t id() const { return id_; }
  [[nodiscard]] bool valid() const { return id_ >= 0; }

 private:
  std::int64_t id_ = -1;
  Close close_ = nullptr;
};

/// What the library says of this thread's last failure: the innermost description, or "". To be
/// asked under the Lock under which the call failed, before any other call.
[[nodiscard]] std::string last_error();

/// Opens an existing file for reading.
/// errors  Exit::missing no such file, or it may not be read; Exit::data a directory, a FIFO, not
/// HDF5, cut short or damaged
[[nodiscard]] Handle open_file(const std::string& path);

/// Follows links inside the file, then opens the data set there; its contents are not checked.
/// errors  Exit::data there is none (lists those there are, and the nearest spelling), an external
/// link on the way, a group, damage
[[nodiscard]] Handle open_link(const Handle& file, const std::string& file_name,
                               const std::string& name, std::int64_t chunk_cache_bytes);

/// The element types that can be read: the stored bytes and whether they must be swapped.
struct ElementType {
  DType dtype = DType::f32;
  bool swapped = false;  // stored big-endian
};

/// What is known of a data set before a byte of it is read.
struct Description {
  std::vector<std::int64_t> dims;           // of the whole data set, rows first
  std::optional<ElementType> element_type;  // none: not a number
  std::string type_text;                    // "u8", "compound of 3 fields", "string"
  std::string layout;                       // "contiguous", "compact", "chunked", "virtual"
  std::vector<std::int64_t> chunk;          // chunked only
  std::vector<std::string> filters;         // "shuffle", "deflate"
  std::int64_t stored_bytes = 0;            // on disk
  std::string defect;  // why it cannot be read, "" if it can: external storage, a plug-in filter,
                       // missing chunks, a claim beyond what is stored
  [[nodiscard]] std::int64_t numel() const;
  [[nodiscard]] std::int64_t row_numel() const;
  [[nodiscard]] std::int64_t row_bytes() const;
  [[nodiscard]] std::int64_t bytes() const;
  /// Of one row.
  [[nodiscard]] tensor::Shape row_shape() const;
};

/// An open data set whose description has no defect.
struct OpenDataset {
  Handle handle;
  Description description;
};

struct OpenOptions {
  std::int64_t chunk_cache_bytes = 1 << 20;  // 0: none
};

/// open_link(), then refuses everything that is not plain rows of numbers.
/// errors  Exit::data as open_link(); what Description::defect says; not numbers; a scalar; no rows
[[nodiscard]] OpenDataset open_dataset(const Handle& file, const std::string& file_name,
                                       const std::string& name, const OpenOptions& options = {});

/// Describes a data set without refusing it (info). errors  Exit::data if it cannot be opened
[[nodiscard]] Description describe_dataset(const Handle& file, const std::string& file_name,
                                           const std::string& name);

/// "[60000, 28, 28]"
[[nodiscard]] std::string shape_text(std::span<const std::int64_t> dims);

/// Paths of the data sets of a file, in name order, at most max_count. Links that leave the file
/// are not followed and are listed in skipped.
struct Listing {
  std::vector<std::string> datasets;
  std::vector<std::string> skipped;  // "/ext (external link)"
  bool cut = false;                  // there are more
};
[[nodiscard]] Listing list_datasets(const Handle& file, std::size_t max_count = 1000);

/// Reads rows [first, first + count) in the stored type, in native byte order.
/// errors  Exit::data the library could not read them
void read_rows(const OpenDataset& dataset, const std::string& where, std::int64_t first,
               std::int64_t count, std::byte* out);

}  // namespace dlt::data::h5
