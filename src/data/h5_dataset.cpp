// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include <hdf5.h>

#include "base/error.h"
#include "base/text.h"
#include "data/h5.h"

namespace dlt::data::h5 {
namespace {

constexpr std::int64_t kMaxElements = std::int64_t{1} << 60;
// Deflate cannot shrink by more than 1032 to 1; n-bit and scale-offset of real data never do.
constexpr std::int64_t kMaxCompression = 1100;
constexpr std::int64_t kMaxChunk_bytes = std::int64_t{1} << 30;

struct StandardType {
  hid_t little;
  hid_t big;
  DType dtype;
};

bool is_half(hid_t type, std::size_t exponent_bits) {
  std::size_t sign = 0, exponent = 0, exponent_size = 0, mantissa = 0, mantissa_size = 0;
  const std::size_t mantissa_bits = 15 - exponent_bits;
  return H5Tget_size(type) == 2 && H5Tget_precision(type) == 16 && H5Tget_offset(type) == 0 &&
         H5Tget_fields(type, &sign, &exponent, &exponent_size, &mantissa, &mantissa_size) >= 0 &&
         sign == 15 && exponent == mantissa_bits && exponent_size == exponent_bits &&
         mantissa == 0 && mantissa_size == mantissa_bits &&
         H5Tget_ebias(type) == (std::size_t{1} << (exponent_bits - 1)) - 1 &&
         H5Tget_norm(type) == H5T_NORM_IMPLIED;
}

std::optional<ElementType> element_type(hid_t type) {
  const H5T_class_t type_class = H5Tget_class(type);
  if (type_class != H5T_INTEGER && type_class != H5T_FLOAT) return std::nullopt;
  const std::array<StandardType, 10> standard = {{
      {H5T_STD_U8LE, H5T_STD_U8BE, DType::u8},
      {H5T_STD_I8LE, H5T_STD_I8BE, DType::i8},
      {H5T_STD_U16LE, H5T_STD_U16BE, DType::u16},
      {H5T_STD_I16LE, H5T_STD_I16BE, DType::i16},
      {H5T_STD_U32LE, H5T_STD_U32BE, DType::u32},
      {H5T_STD_I32LE, H5T_STD_I32BE, DType::i32},
      {H5T_STD_U64LE, H5T_STD_U64BE, DType::u64},
      {H5T_STD_I64LE, H5T_STD_I64BE, DType::i64},
      {H5T_IEEE_F32LE, H5T_IEEE_F32BE, DType::f32},
      {H5T_IEEE_F64LE, H5T_IEEE_F64BE, DType::f64},
  }};
  for (const StandardType& known : standard) {
    if (H5Tequal(type, known.little) > 0) return ElementType{known.dtype, false};
    if (H5Tequal(type, known.big) > 0) return ElementType{known.dtype, H5Tget_size(type) > 1};
  }
  const H5T_order_t order = H5Tget_order(type);
  if (type_class != H5T_FLOAT || (order != H5T_ORDER_LE && order != H5T_ORDER_BE)) {
    return std::nullopt;
  }
  if (is_half(type, 5)) return ElementType{DType::f16, order == H5T_ORDER_BE};
  if (is_half(type, 8)) return ElementType{DType::bf16, order == H5T_ORDER_BE};
  return std::nullopt;
}

std::string type_text(hid_t type, const std::optional<ElementType>& element) {
  if (element) {
    return cat(name(element->dtype), element->swapped ? " big-endian" : "");
  }
  const std::size_t bits = 8 * H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return cat(bits, "-bit integer of an unusual layout");
    case H5T_FLOAT:
      return cat(bits, "-bit float of an unusual layout");
    case H5T_TIME:
      return "time";
    case H5T_STRING:
      return "string";
    case H5T_BITFIELD:
      return "bitfield";
    case H5T_OPAQUE:
      return "opaque";
    case H5T_COMPOUND:
      return cat("compound of ", H5Tget_nmembers(type), " fields");
    case H5T_REFERENCE:
      return "reference";
    case H5T_ENUM:
      return cat("enumeration of ", H5Tget_nmembers(type), " names");
    case H5T_VLEN:
      return "variable-length";
    case H5T_ARRAY:
      return "array";
    case H5T_NO_CLASS:
    case H5T_NCLASSES:
      break;
  }
  return "of an unknown type";
}

void describe_filters(hid_t plist, Description& out) {
  const int count = H5Pget_nfilters(plist);
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0, config = 0;
    std::size_t num_values = 0;
    std::array<char, 64> label{};
    const H5Z_filter_t filter = H5Pget_filter2(plist, static_cast<unsigned>(i), &flags, &num_values,
                                               nullptr, label.size() - 1, label.data(), &config);
    switch (filter) {
      case H5Z_FILTER_DEFLATE:
        out.filters.emplace_back("deflate");
        break;
      case H5Z_FILTER_SHUFFLE:
        out.filters.emplace_back("shuffle");
        break;
      case H5Z_FILTER_FLETCHER32:
        out.filters.emplace_back("fletcher32");
        break;
      case H5Z_FILTER_NBIT:
        out.filters.emplace_back("nbit");
        break;
      case H5Z_FILTER_SCALEOFFSET:
        out.filters.emplace_back("scaleoffset");
        break;
      default: {
        const std::string title = printable(label.data(), 40);
        out.filters.push_back(cat("filter ", filter, title.empty() ? "" : cat(" (", title, ")")));
        out.defect = cat("is compressed by ", out.filters.back(),
                         ", which needs a plug-in; expected none, deflate, shuffle, fletcher32, "
                         "nbit or scaleoffset (h5repack -f GZIP=4 rewrites it)");
      }
    }
  }
}

/// Layout, filters and outside storage, from the creation properties alone: nothing is opened.
void describe_layout(const Handle& dataset, Description& out) {
  const Handle plist(H5Dget_create_plist(dataset.id()), H5Pclose);
  if (!plist.valid()) {
    out.defect = "is damaged (its properties cannot be read)";
    return;
  }
  switch (H5Pget_layout(plist.id())) {
    case H5D_COMPACT:
      out.layout = "compact";
      break;
    case H5D_CONTIGUOUS:
      out.layout = "contiguous";
      break;
    case H5D_CHUNKED: {
      out.layout = "chunked";
      std::array<hsize_t, H5S_MAX_RANK> dims{};
      const int rank = H5Pget_chunk(plist.id(), H5S_MAX_RANK, dims.data());
      for (int i = 0; i < rank; ++i) {
        out.chunk.push_back(static_cast<std::int64_t>(dims[static_cast<std::size_t>(i)]));
      }
      break;
    }
    case H5D_VIRTUAL:
      out.layout = "virtual";
      out.defect = "is a virtual data set, whose rows lie in other files; expected the data itself";
      return;
    case H5D_LAYOUT_ERROR:
    case H5D_NLAYOUTS:
      out.defect = "is damaged (its layout cannot be read)";
      return;
  }
  if (H5Pget_external_count(plist.id()) != 0) {
    out.defect = "has its rows in other files (external storage); expected them in the file itself";
    return;
  }
  describe_filters(plist.id(), out);
}

void describe_extent(const Handle& dataset, Description& out) {
  const Handle space(H5Dget_space(dataset.id()), H5Sclose);
  const H5S_class_t space_class =
      space.valid() ? H5Sget_simple_extent_type(space.id()) : H5S_NO_CLASS;
  if (space_class == H5S_SCALAR || space_class == H5S_NULL) {
    out.defect =
        space_class == H5S_SCALAR ? "is a scalar, expected rows" : "is empty, expected rows";
    return;
  }
  std::array<hsize_t, H5S_MAX_RANK> dims{};
  const int rank =
      space_class == H5S_SIMPLE ? H5Sget_simple_extent_dims(space.id(), dims.data(), nullptr) : -1;
  if (rank < 1) {
    out.defect = "is damaged (its shape cannot be read)";
    return;
  }
  hsize_t numel = 1;
  bool huge = false;
  for (int i = 0; i < rank; ++i) {
    const hsize_t size = dims[static_cast<std::size_t>(i)];
    const hsize_t limit = static_cast<hsize_t>(kMaxElements);
    huge = huge || size > limit || (numel != 0 && size > limit / numel);
    if (!huge) numel *= size;
    out.dims.push_back(static_cast<std::int64_t>(std::min(size, limit)));
  }
  if (huge && std::find(out.dims.begin(), out.dims.end(), 0) == out.dims.end()) {
    out.defect = "claims more than 2^60 elements, which no file holds";
  } else if (rank > tensor::Shape::kMaxRank) {
    out.defect = cat("has ", rank, " axes, expected at most ", tensor::Shape::kMaxRank);
  }
}

std::string claim_text(const Description& description) {
  return cat("claims ", description.numel(), " elements (", description.bytes(),
             " bytes), but the file holds ", description.stored_bytes, " bytes of it");
}

/// Compares what a chunked data set claims with the chunks that are there.
void check_chunks(const Handle& dataset, Description& out) {
  std::int64_t chunk_bytes = static_cast<std::int64_t>(size_bytes(out.element_type->dtype));
  std::int64_t num_chunks = 1;
  if (out.chunk.size() != out.dims.size()) {
    out.defect = "is damaged (its chunks have another number of axes than the data)";
    return;
  }
  for (std::size_t i = 0; i < out.chunk.size(); ++i) {
    const std::int64_t size = out.chunk[i];
    if (size < 1 || size > kMaxChunk_bytes || chunk_bytes > kMaxChunk_bytes / size) {
      out.defect = cat("has chunks of more than ", kMaxChunk_bytes, " bytes");
      return;
    }
    chunk_bytes *= size;
    num_chunks *= (out.dims[i] - 1) / size + 1;  // at most kMaxElements
  }
  const bool impossible = num_chunks > std::numeric_limits<std::int64_t>::max() / chunk_bytes ||
                          num_chunks * chunk_bytes / kMaxCompression > out.stored_bytes;
  if (impossible) {
    out.defect = claim_text(out);
    return;
  }
  // No filter grows data by more than a little. A chunk that is stored larger than it is could
  // unpack to a thousand times that.
  if (out.stored_bytes > num_chunks * (chunk_bytes + chunk_bytes / 32 + 1024)) {
    out.defect = cat("is damaged: ", out.stored_bytes, " bytes are stored for ", num_chunks,
                     " chunks of ", chunk_bytes, " bytes");
    return;
  }
  const Handle space(H5Dget_space(dataset.id()), H5Sclose);
  hsize_t found = 0;
  if (H5Dget_num_chunks(dataset.id(), space.id(), &found) < 0) {
    out.defect = "is damaged (its chunk index cannot be read)";
  } else if (found != static_cast<hsize_t>(num_chunks)) {
    out.defect = cat("has ", found, " of its ", num_chunks,
                     " chunks; the others were never written (was the writer cut off?)");
  }
}

void check_storage(const Handle& file, const Handle& dataset, Description& out) {
  const hsize_t stored = H5Dget_storage_size(dataset.id());
  hsize_t file_bytes = 0;
  H5Fget_filesize(file.id(), &file_bytes);
  const auto limit = static_cast<hsize_t>(std::numeric_limits<std::int64_t>::max());
  out.stored_bytes = static_cast<std::int64_t>(std::min(std::min(stored, limit), file_bytes));
  if (!out.defect.empty() || !out.element_type || out.numel() == 0) return;
  if (out.numel() > kMaxElements / 8) {
    out.defect = "claims more than 2^57 elements, which no file holds";
    return;
  }
  if (out.layout == "chunked") {
    check_chunks(dataset, out);
    return;
  }
  if (out.stored_bytes < out.bytes()) {
    out.defect = claim_text(out);
    return;
  }
  if (out.layout != "contiguous") return;
  const haddr_t offset = H5Dget_offset(dataset.id());
  if (offset == HADDR_UNDEF) {
    out.defect = "was never written (was the writer cut off?)";
  } else if (offset > file_bytes || static_cast<hsize_t>(out.bytes()) > file_bytes - offset) {
    out.defect = "reaches beyond the end of the file (is the file cut short?)";
  }
}

Description describe(const Handle& file, const Handle& dataset) {
  Description out;
  describe_layout(dataset, out);
  const Handle type(H5Dget_type(dataset.id()), H5Tclose);
  if (!type.valid()) {
    out.type_text = "unknown";
    out.defect = "is damaged (its type cannot be read)";
    return out;
  }
  out.element_type = element_type(type.id());
  out.type_text = type_text(type.id(), out.element_type);
  // The shape of a virtual data set is found by opening its sources: not asked for.
  if (out.layout == "virtual" || !out.defect.empty()) return out;
  describe_extent(dataset, out);
  check_storage(file, dataset, out);
  return out;
}

template <typename Word>
void swap_words(std::byte* data, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, data + i * static_cast<std::int64_t>(sizeof(Word)), sizeof(Word));
    if constexpr (sizeof(Word) == 2) word = __builtin_bswap16(word);
    if constexpr (sizeof(Word) == 4) word = __builtin_bswap32(word);
    if constexpr (sizeof(Word) == 8) word = __builtin_bswap64(word);
    std::memcpy(data + i * static_cast<std::int64_t>(sizeof(Word)), &word, sizeof(Word));
  }
}

void swap_elements(DType dtype, std::byte* data, std::int64_t count) {
  const std::size_t size = size_bytes(dtype);
  if (size == 2) swap_words<std::uint16_t>(data, count);
  if (size == 4) swap_words<std::uint32_t>(data, count);
  if (size == 8) swap_words<std::uint64_t>(data, count);
}

}  // namespace

std::int64_t Description::numel() const {
  std::int64_t product = 1;
  for (const std::int64_t size : dims) {
    if (size == 0) return 0;
    product = product > kMaxElements / size ? kMaxElements : product * size;
  }
  return product;
}

std::int64_t Description::row_numel() const {
  const std::int64_t rows = dims.empty() ? 1 : dims[0];
  return rows == 0 ? 0 : numel() / rows;
}

std::int64_t Description::row_bytes() const {
  return element_type ? row_numel() * static_cast<std::int64_t>(size_bytes(element_type->dtype))
                      : 0;
}

std::int64_t Description::bytes() const {
  return element_type ? numel() * static_cast<std::int64_t>(size_bytes(element_type->dtype)) : 0;
}

tensor::Shape Description::row_shape() const {
  return tensor::Shape(std::span<const std::int64_t>(dims).subspan(1));
}

OpenDataset open_dataset(const Handle& file, const std::string& file_name, const std::string& name,
                         const OpenOptions& options) {
  const Lock lock;
  OpenDataset out;
  out.handle = open_link(file, file_name, name, options.chunk_cache_bytes);
  out.description = describe(file, out.handle);
  const Description& found = out.description;
  const std::string where = cat(file_name, ": '", printable(name), "' ");
  if (!found.element_type && found.defect.empty()) {
    throw Error(Exit::data, cat(where, "is of type ", found.type_text,
                                ", expected integers or floats of 8 to 64 bits"));
  }
  if (!found.defect.empty()) throw Error(Exit::data, where + found.defect);
  if (found.numel() == 0) {
    throw Error(Exit::data, cat(where, "has no rows: its shape is ", shape_text(found.dims)));
  }
  return out;
}

Description describe_dataset(const Handle& file, const std::string& file_name,
                             const std::string& name) {
  const Lock lock;
  const Handle dataset = open_link(file, file_name, name, 0);
  return describe(file, dataset);
}

std::string shape_text(std::span<const std::int64_t> dims) {
  std::vector<std::string> words;
  for (const std::int64_t size : dims) words.push_back(std::to_string(size));
  return cat("[", join(words), "]");
}

void read_rows(const OpenDataset& dataset, const std::string& where, std::int64_t first,
               std::int64_t count, std::byte* out) {
  const Description& about = dataset.description;
  {
    const Lock lock;
    const Handle type(H5Dget_type(dataset.handle.id()), H5Tclose);
    const Handle space(H5Dget_space(dataset.handle.id()), H5Sclose);
    std::array<hsize_t, tensor::Shape::kMaxRank> start{}, size{};
    for (std::size_t i = 0; i < about.dims.size(); ++i) {
      size[i] = static_cast<hsize_t>(about.dims[i]);
    }
    start[0] = static_cast<hsize_t>(first);
    size[0] = static_cast<hsize_t>(count);
    const int rank = static_cast<int>(about.dims.size());
    const Handle memory(H5Screate_simple(rank, size.data(), nullptr), H5Sclose);
    // Read in the stored type: the library then converts nothing, which is slow and for some types
    // inexact; we do.
    if (H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, size.data(),
                            nullptr) < 0 ||
        H5Dread(dataset.handle.id(), type.id(), memory.id(), space.id(), H5P_DEFAULT, out) < 0) {
      throw Error(Exit::data,
                  cat(where, " rows ", first, " to ", first + count - 1,
                      ": cannot be read; the file is damaged (HDF5: ", last_error(), ")"));
    }
  }
  if (about.element_type->swapped) {
    swap_elements(about.element_type->dtype, out, count * about.row_numel());
  }
}

}  // namespace dlt::data::h5
