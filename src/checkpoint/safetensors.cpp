// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/header.h"

namespace dlt::checkpoint {
namespace {

constexpr std::uint64_t kLength_bytes = 8;
constexpr std::uint64_t kMaxHeader_bytes = 100'000'000;  // as the reference implementation
constexpr std::size_t kAlignment_bytes = 64;             // of the first tensor in the file

std::string quoted(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(Exit::config, cat("safetensors: '", printable(text), "' is not UTF-8"));
  }
}

std::string shape_text(const tensor::Shape& shape) {
  std::string text;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (axis > 0) text += ',';
    text += std::to_string(shape[axis]);
  }
  return text;
}

std::string header_json(const std::map<std::string, tensor::TensorType>& tensors,
                        const Metadata& metadata) {
  std::string json = "{";
  const auto comma = [&json] {
    if (json.back() != '{') json += ',';
  };
  if (!metadata.empty()) {
    json += cat(quoted(kMetadataKey), ":{");
    for (const auto& [key, value] : metadata) {
      comma();
      json += cat(quoted(key), ":", quoted(value));
    }
    json += '}';
  }
  std::int64_t begin = 0;
  for (const auto& [name, type] : tensors) {
    const std::string problem = name_problem(name);
    if (!problem.empty()) {
      throw Error(Exit::config, cat("safetensors: '", printable(name), "': ", problem));
    }
    const std::int64_t end = begin + type.bytes();
    comma();
    json += cat(quoted(name), ":{\"dtype\":\"", safetensors_name(type.dtype), "\",\"shape\":[",
                shape_text(type.shape), "],\"data_offsets\":[", begin, ",", end, "]}");
    begin = end;
  }
  return json + "}";
}

std::uint64_t read_length(std::span<const std::byte> bytes) {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLength_bytes; ++i) {
    length |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  return length;
}

class Decoder {
 public:
  Decoder(const std::string& source, std::span<const std::byte> data)
      : source_(source), data_(data) {}

  tensor::StateDict read(const Header& header) const {
    // All is checked before anything is allocated.
    std::vector<std::pair<const std::string*, const HeaderEntry*>> by_place;
    std::map<std::string_view, tensor::TensorType> types;
    for (const auto& [name, entry] : header.tensors) {
      types.emplace(name, type_of(name, entry));
      by_place.emplace_back(&name, &entry);
    }
    std::sort(by_place.begin(), by_place.end(), [](const auto& a, const auto& b) {
      return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
    });
    check_places(by_place);
    tensor::StateDict state;
    for (const auto& [name, entry] : by_place) {
      state.emplace(*name, copy(*name, types.at(*name), *entry));
    }
    return state;
  }

 private:
  [[noreturn]] void fail(const std::string& name, const std::string& what) const {
    throw Error(Exit::data, cat(source_, ": tensor '", printable(name), "': ", what));
  }

  [[nodiscard]] tensor::TensorType type_of(const std::string& name,
                                           const HeaderEntry& entry) const {
    const std::optional<DType> dtype = dtype_from_safetensors(entry.dtype);
    if (!dtype) fail(name, cat("unknown dtype '", printable(entry.dtype), "'"));
    std::vector<std::int64_t> dims;
    for (const std::uint64_t size : entry.shape) {
      if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        fail(name, cat("size ", size, " is too large"));
      }
      dims.push_back(static_cast<std::int64_t>(size));
    }
    try {
      return {.shape = tensor::Shape(dims), .dtype = *dtype};
    } catch (const Error& error) {
      fail(name, error.what());
    }
  }

  void check_places(
      const std::vector<std::pair<const std::string*, const HeaderEntry*>>& by_place) const {
    std::uint64_t at = 0;
    for (const auto& [name, entry] : by_place) {
      if (entry->begin != at) {
        fail(*name,
             cat("data begins at ", entry->begin, ", want ", at, " (",
                 entry->begin < at ? "overlaps" : "leaves a hole behind", " the tensor before)"));
      }
      if (entry->end < entry->begin || entry->end > data_.size()) {
        fail(*name,
             cat("data ends at ", entry->end, ", want from ", entry->begin, " to ", data_.size()));
      }
      at = entry->end;
    }
    if (at != data_.size()) {
      throw Error(Exit::data, cat(source_, ": ", data_.size() - at,
                                  " bytes behind the last tensor, want none"));
    }
  }

  [[nodiscard]] tensor::Tensor copy(const std::string& name, const tensor::TensorType& type,
                                    const HeaderEntry& entry) const {
    const std::uint64_t size = entry.end - entry.begin;
    if (size != static_cast<std::uint64_t>(type.bytes())) {
      fail(name, cat(size, " bytes of data, want ", type.bytes(), " for ", type.text()));
    }
    const auto from = data_.subspan(entry.begin, size);
    if (type.dtype == DType::boolean &&
        std::any_of(from.begin(), from.end(), [](std::byte b) { return b > std::byte{1}; })) {
      fail(name, "BOOL that is neither 0 nor 1");
    }
    tensor::Tensor out(type.shape, type.dtype);
    if (size > 0) std::memcpy(out.bytes(), from.data(), size);
    return out;
  }

  const std::string& source_;
  std::span<const std::byte> data_;
};

}  // namespace

FilePlan plan_file(const std::map<std::string, tensor::TensorType>& tensors,
                   const Metadata& metadata) {
  std::string json = header_json(tensors, metadata);
  const std::size_t end = kLength_bytes + json.size();
  json.append((kAlignment_bytes - end % kAlignment_bytes) % kAlignment_bytes, ' ');
  if (json.size() > kMaxHeader_bytes) {
    throw Error(Exit::config, cat("safetensors: header of ", json.size(), " bytes, want at most ",
                                  kMaxHeader_bytes));
  }
  FilePlan out;
  for (std::size_t i = 0; i < kLength_bytes; ++i) {
    out.header += static_cast<char>((json.size() >> (8 * i)) & 0xffu);
  }
  out.header += json;
  out.num_bytes = static_cast<std::int64_t>(out.header.size());
  for (const auto& [name, type] : tensors) {
    out.offsets.emplace_hint(out.offsets.end(), name, out.num_bytes);
    out.num_bytes += type.bytes();
  }
  return out;
}

Encoded encode(const tensor::StateDict& state, const Metadata& metadata) {
  std::map<std::string, tensor::TensorType> types;
  for (const auto& [name, value] : state) types.emplace_hint(types.end(), name, value.type());
  FilePlan plan = plan_file(types, metadata);
  Encoded out;
  out.header = std::move(plan.header);
  out.num_bytes = plan.num_bytes;
  out.pieces.push_back(std::as_bytes(std::span(out.header)));
  for (const auto& [name, value] : state) out.pieces.push_back(value.byte_span());
  return out;
}

Decoded decode(const std::string& source, std::span<const std::byte> bytes) {
  if (bytes.size() < kLength_bytes) {
    throw Error(Exit::data, cat(source, ": ", bytes.size(), " bytes, want at least 8"));
  }
  const std::uint64_t length = read_length(bytes);
  const std::uint64_t most =
      std::min<std::uint64_t>(bytes.size() - kLength_bytes, kMaxHeader_bytes);
  if (length > most) {
    throw Error(Exit::data, cat(source, ": header of ", length, " bytes, want at most ", most));
  }
  const auto json = bytes.subspan(kLength_bytes, length);
  Header header = parse_header(source, {reinterpret_cast<const char*>(json.data()), json.size()});
  const Decoder decoder(source, bytes.subspan(kLength_bytes + length));
  return {.state = decoder.read(header), .metadata = std::move(header.metadata)};
}

std::string weights_hash_prefix(const std::string& name, const tensor::TensorType& type) {
  std::string text = name;
  text += '\0';
  text += safetensors_name(type.dtype);
  text += '\0';
  text += shape_text(type.shape);
  text += '\0';
  return text;
}

std::string weights_hash(const tensor::StateDict& parameters) {
  Sha256 hash;
  for (const auto& [name, value] : parameters) {
    hash.update(weights_hash_prefix(name, value.type()));
    hash.update(value.byte_span());
  }
  return hash.hex();
}

}  // namespace dlt::checkpoint
