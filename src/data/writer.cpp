// SPDX-License-Identifier: Apache-2.0
#include "data/writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "data/h5.h"

namespace dlt::data {
namespace {

constexpr std::int64_t kChunk_bytes = 256 << 10;

h5::Handle half_type(std::size_t exponent_bits) {
  h5::Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  const std::size_t mantissa_bits = 15 - exponent_bits;
  H5Tset_fields(type.id(), 15, mantissa_bits, exponent_bits, 0, mantissa_bits);
  H5Tset_size(type.id(), 2);
  H5Tset_ebias(type.id(), (std::size_t{1} << (exponent_bits - 1)) - 1);
  return type;
}

h5::Handle file_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose};
    case DType::f64:
      return {H5Tcopy(H5T_IEEE_F64LE), H5Tclose};
    case DType::f16:
      return half_type(5);
    case DType::bf16:
      return half_type(8);
    case DType::i8:
      return {H5Tcopy(H5T_STD_I8LE), H5Tclose};
    case DType::u8:
    case DType::boolean:
      return {H5Tcopy(H5T_STD_U8LE), H5Tclose};
    case DType::i16:
      return {H5Tcopy(H5T_STD_I16LE), H5Tclose};
    case DType::u16:
      return {H5Tcopy(H5T_STD_U16LE), H5Tclose};
    case DType::i32:
      return {H5Tcopy(H5T_STD_I32LE), H5Tclose};
    case DType::u32:
      return {H5Tcopy(H5T_STD_U32LE), H5Tclose};
    case DType::i64:
      return {H5Tcopy(H5T_STD_I64LE), H5Tclose};
    case DType::u64:
      return {H5Tcopy(H5T_STD_U64LE), H5Tclose};
  }
  throw Error(Exit::internal, "unknown dtype");
}

std::vector<hsize_t> dims_of(std::int64_t rows, const tensor::Shape& row_shape) {
  std::vector<hsize_t> dims = {static_cast<hsize_t>(rows)};
  for (const std::int64_t size : row_shape.dims()) dims.push_back(static_cast<hsize_t>(size));
  return dims;
}

h5::Handle creation_properties(const ColumnOptions& options) {
  h5::Handle plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(plist.id(), false);
  if (options.deflate_level == 0) {
    H5Pset_fill_time(plist.id(), H5D_FILL_TIME_NEVER);  // every row is written once
    return plist;
  }
  const std::int64_t row_bytes =
      options.row_shape.numel() * static_cast<std::int64_t>(size_bytes(options.dtype));
  const std::int64_t rows = std::clamp(kChunk_bytes / std::max<std::int64_t>(1, row_bytes),
                                       std::int64_t{1}, options.num_rows);
  const std::vector<hsize_t> chunk = dims_of(rows, options.row_shape);
  H5Pset_chunk(plist.id(), static_cast<int>(chunk.size()), chunk.data());
  if (size_bytes(options.dtype) > 1) H5Pset_shuffle(plist.id());
  H5Pset_deflate(plist.id(), static_cast<unsigned>(options.deflate_level));
  return plist;
}

}  // namespace

struct Hdf5Writer::Impl {
  struct Column {
    ColumnOptions options;
    h5::Handle type, dataset;
  };
  std::string path, temporary;
  h5::Handle file;
  std::vector<Column> columns;
  bool created = false;

  [[noreturn]] void fail(std::string_view what) const {
    throw Error(Exit::io, cat(path, ": ", what, " (HDF5: ", h5::last_error(), ")"));
  }
};

Hdf5Writer::Hdf5Writer(const std::string& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->temporary = cat(path, ".", getpid(), ".tmp");
  // Made here, so that the operating system's reason is known when it cannot be.
  const int fd = ::open(impl_->temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    const int code = errno;
    throw Error(Exit::io, cat(path, ": cannot be written: ", std::strerror(code)));
  }
  ::close(fd);
  impl_->created = true;
  const h5::Lock lock;
  const h5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_file_locking(access.id(), true, true);
  impl_->file = h5::Handle(
      H5Fcreate(impl_->temporary.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.id()), H5Fclose);
  if (!impl_->file.valid()) {
    const std::string reason = h5::last_error();
    ::unlink(impl_->temporary.c_str());
    throw Error(Exit::io, cat(path, ": cannot be written (HDF5: ", reason, ")"));
  }
}

Hdf5Writer::~Hdf5Writer() {
  impl_->columns.clear();
  impl_->file.reset();
  if (impl_->created) ::unlink(impl_->temporary.c_str());
}

int Hdf5Writer::add(const ColumnOptions& options) {
  DLT_CHECK(options.num_rows >= 1 && options.row_shape.numel() >= 1, "an empty data set");
  DLT_CHECK(options.deflate_level >= 0 && options.deflate_level <= 9, "deflate level is 0 to 9");
  const h5::Lock lock;
  Impl::Column column{options, file_type(options.dtype), {}};
  const std::vector<hsize_t> dims = dims_of(options.num_rows, options.row_shape);
  const h5::Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr),
                         H5Sclose);
  const h5::Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.id(), 1);
  const h5::Handle creation = creation_properties(options);
  if (H5Lexists(impl_->file.id(), options.name.c_str(), H5P_DEFAULT) > 0) {
    throw Error(Exit::usage,
                cat(impl_->path, ": '", printable(options.name), "' is there already"));
  }
  column.dataset = h5::Handle(H5Dcreate2(impl_->file.id(), options.name.c_str(), column.type.id(),
                                         space.id(), links.id(), creation.id(), H5P_DEFAULT),
                              H5Dclose);
  if (!column.dataset.valid()) {
    impl_->fail(cat("'", printable(options.name), "' cannot be made"));
  }
  impl_->columns.push_back(std::move(column));
  return static_cast<int>(impl_->columns.size()) - 1;
}

void Hdf5Writer::write_rows(int column, std::int64_t first, std::int64_t count, const void* rows) {
  if (count == 0) return;
  const Impl::Column& to = impl_->columns.at(static_cast<std::size_t>(column));
  DLT_CHECK(first >= 0 && count > 0 && count <= to.options.num_rows - first, "rows out of range");
  const h5::Lock lock;
  const std::vector<hsize_t> size = dims_of(count, to.options.row_shape);
  std::vector<hsize_t> start(size.size(), 0);
  start[0] = static_cast<hsize_t>(first);
  const h5::Handle space(H5Dget_space(to.dataset.id()), H5Sclose);
  const h5::Handle memory(H5Screate_simple(static_cast<int>(size.size()), size.data(), nullptr),
                          H5Sclose);
  if (H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr) <
          0 ||
      H5Dwrite(to.dataset.id(), to.type.id(), memory.id(), space.id(), H5P_DEFAULT, rows) < 0) {
    impl_->fail(cat("'", printable(to.options.name), "' cannot be written"));
  }
}

void Hdf5Writer::write(const ColumnOptions& options, const void* rows) {
  write_rows(add(options), 0, options.num_rows, rows);
}

void Hdf5Writer::attribute(const std::string& name, const std::string& text) {
  const h5::Lock lock;
  const h5::Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.id(), H5T_VARIABLE);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  const h5::Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const h5::Handle attribute(
      H5Acreate2(impl_->file.id(), name.c_str(), type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  const char* const words = text.c_str();
  if (!attribute.valid() || H5Awrite(attribute.id(), type.id(), &words) < 0) {
    impl_->fail(cat("attribute '", printable(name), "' cannot be written"));
  }
}

void Hdf5Writer::commit() {
  {
    const h5::Lock lock;
    impl_->columns.clear();
    if (H5Fflush(impl_->file.id(), H5F_SCOPE_GLOBAL) < 0) impl_->fail("cannot be written");
    impl_->file.reset();
  }
  const int fd = ::open(impl_->temporary.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int code = errno;
  if (fd >= 0) ::close(fd);
  if (!synced) throw Error(Exit::io, cat(impl_->path, ": fsync: ", std::strerror(code)));
  SystemFs fs;
  fs.rename(impl_->temporary, impl_->path);
  impl_->created = false;
  const std::size_t slash = impl_->path.rfind('/');
  fs.sync_directory(slash == std::string::npos ? "." : impl_->path.substr(0, slash + 1));
}

}  // namespace dlt::data
