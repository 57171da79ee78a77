// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

namespace dlt::checkpoint {
namespace {

using tensor::Shape;
using tensor::StateDict;
using tensor::Tensor;
using tensor::TensorType;
using Json = nlohmann::ordered_json;

constexpr std::size_t kLength_bytes = 8;
constexpr std::uint64_t kMaxHeader_bytes = 100'000'000;
constexpr std::size_t kMaxName_chars = 1024;
constexpr int kMaxDepth = 3;  // header > tensor > shape
constexpr std::size_t kAlign_bytes = 64;
constexpr const char* kMetadata = "__metadata__";

[[noreturn]] void bad(const std::string& source, const std::string& what) {
  throw Error(Exit::data, cat(source, ": ", what));
}

/// Names become keys of dictionaries and, in other tools, of files: nothing that walks a path.
bool is_safe_name(const std::string& name) {
  const auto is_bad = [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '/' || c == '\\';
  };
  return !name.empty() && name.size() <= kMaxName_chars && name.find("..") == std::string::npos &&
         std::none_of(name.begin(), name.end(), is_bad);
}

/// Parses without recursion on hostile depth; nlohmann keeps the last of duplicate keys silently.
Json parse_header(const std::string& source, std::string_view text) {
  std::vector<std::set<std::string>> keys(static_cast<std::size_t>(kMaxDepth) + 2);
  std::string problem;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) {
      problem = "header is nested too deeply";
      return false;
    }
    if (event == Json::parse_event_t::object_start)
      keys[static_cast<std::size_t>(depth) + 1].clear();
    if (event == Json::parse_event_t::key) {
      const auto key = parsed.get<std::string>();
      if (!keys[static_cast<std::size_t>(depth)].insert(key).second) {
        problem = cat("duplicate name '", printable(key), "' in the header");
      }
    }
    return true;
  };
  Json header = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (!problem.empty()) bad(source, problem);
  if (header.is_discarded() || !header.is_object()) bad(source, "header is not a JSON object");
  return header;
}

std::uint64_t natural(const std::string& source, const std::string& name, const Json& value) {
  if (!value.is_number_unsigned())
    bad(source, cat("'", printable(name), "': expected a non-negative integer"));
  return value.get<std::uint64_t>();
}

struct Entry {
  std::string name;
  TensorType type;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

TensorType read_type(const std::string& source, const std::string& name, const Json& fields) {
  const auto dtype = dtype_from_safetensors(fields.at("dtype").get<std::string>());
  if (!dtype)
    bad(source, cat("'", name, "': unknown dtype '",
                    printable(fields.at("dtype").get<std::string>()), "'"));
  const Json& shape = fields.at("shape");
  if (shape.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    bad(source, cat("'", name, "': ", shape.size(), " sizes, expected at most ", Shape::kMaxRank));
  }
  std::vector<std::int64_t> dims;
  std::uint64_t numel = 1;
  for (const Json& size : shape) {
    const std::uint64_t n = natural(source, name, size);
    std::uint64_t product = 0;
    if (n > (std::uint64_t{1} << 48) || __builtin_mul_overflow(numel, n, &product) ||
        product > (std::uint64_t{1} << 48)) {
      bad(source, cat("'", name, "': shape is too large"));
    }
    numel = product;
    dims.push_back(static_cast<std::int64_t>(n));
  }
  return {.shape = Shape(std::span<const std::int64_t>(dims)), .dtype = *dtype};
}

Entry read_entry(const std::string& source, const std::string& name, const Json& fields) {
  if (!is_safe_name(name)) bad(source, cat("unsafe tensor name '", printable(name), "'"));
  const bool complete = fields.is_object() && fields.size() == 3 && fields.contains("dtype") &&
                        fields.at("dtype").is_string() && fields.contains("shape") &&
                        fields.at("shape").is_array() && fields.contains("data_offsets") &&
                        fields.at("data_offsets").is_array() &&
                        fields.at("data_offsets").size() == 2;
  if (!complete)
    bad(source, cat("'", name, "': expected {dtype, shape, data_offsets: [begin, end]}"));
  Entry entry{.name = name, .type = read_type(source, name, fields)};
  entry.begin = natural(source, name, fields.at("data_offsets").at(0));
  entry.end = natural(source, name, fields.at("data_offsets").at(1));
  if (entry.end < entry.begin ||
      entry.end - entry.begin != static_cast<std::uint64_t>(entry.type.bytes())) {
    bad(source, cat("'", name, "': data_offsets [", entry.begin, ", ", entry.end,
                    "] do not hold a ", entry.type.text(), " of ", entry.type.bytes(), " bytes"));
  }
  return entry;
}

Metadata read_metadata(const std::string& source, const Json& fields) {
  Metadata out;
  if (!fields.is_object()) bad(source, "__metadata__ is not an object of strings");
  for (const auto& [key, value] : fields.items()) {
    if (!value.is_string()) bad(source, "__metadata__ is not an object of strings");
    out[key] = value.get<std::string>();
  }
  return out;
}

/// The tensors must fill the data exactly: no overlap, no hole, nothing behind the last.
void require_gapless(const std::string& source, std::vector<Entry>& entries,
                     std::uint64_t num_bytes) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::uint64_t at = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != at) {
      bad(source, cat("'", entry.name, "': data begins at ", entry.begin, ", expected ", at));
    }
    at = entry.end;
  }
  if (at != num_bytes) bad(source, cat("tensors take ", at, " bytes, the file holds ", num_bytes));
}

}  // namespace

Encoded encode(const StateDict& state, const Metadata& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  std::uint64_t at = 0;
  for (const auto& [name, tensor] : state) {
    const std::uint64_t end = at + static_cast<std::uint64_t>(tensor.type().bytes());
    header[name] = {{"dtype", std::string(safetensors_name(tensor.dtype()))},
                    {"shape", std::vector<std::int64_t>(tensor.shape().dims().begin(),
                                                        tensor.shape().dims().end())},
                    {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  // Spaces up to a multiple of 64, so that tensors can be used where they lie in a mapped file.
  const std::size_t whole =
      (kLength_bytes + text.size() + kAlign_bytes - 1) / kAlign_bytes * kAlign_bytes;
  text.append(whole - kLength_bytes - text.size(), ' ');
  const std::uint64_t length = text.size();

  Encoded out;
  out.header.assign(reinterpret_cast<const char*>(&length), kLength_bytes);
  out.header += text;
  out.pieces.push_back(std::as_bytes(std::span<const char>(out.header)));
  for (const auto& [name, tensor] : state) out.pieces.push_back(tensor.byte_span());
  out.num_bytes = static_cast<std::int64_t>(out.header.size() + at);
  return out;
}

Decoded decode(const std::string& source, std::span<const std::byte> bytes) {
  if (bytes.size() < kLength_bytes)
    bad(source, cat("a file of ", bytes.size(), " bytes is not safetensors"));
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLength_bytes);
  const std::uint64_t room = bytes.size() - kLength_bytes;
  if (length > kMaxHeader_bytes || length > room) {
    bad(source,
        cat("header of ", length, " bytes, expected at most ", std::min(room, kMaxHeader_bytes)));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLength_bytes, length);
  const Json header = parse_header(source, text);
  const std::span<const std::byte> data = bytes.subspan(kLength_bytes + length);
  Decoded out;
  std::vector<Entry> entries;
  for (const auto& [name, fields] : header.items()) {
    if (name == kMetadata) {
      out.metadata = read_metadata(source, fields);
    } else {
      entries.push_back(read_entry(source, name, fields));
    }
  }
  require_gapless(source, entries, data.size());
  for (const Entry& entry : entries) {
    Tensor tensor(entry.type.shape, entry.type.dtype);
    if (entry.end > entry.begin)
      std::memcpy(tensor.bytes(), data.data() + entry.begin, entry.end - entry.begin);
    out.state.emplace(entry.name, std::move(tensor));
  }
  return out;
}

std::string weights_hash(const StateDict& parameters) {
  constexpr std::string_view kNul("\0", 1);
  Sha256 hash;
  for (const auto& [name, tensor] : parameters) {
    std::string shape;
    for (const std::int64_t size : tensor.shape().dims()) {
      shape += (shape.empty() ? "" : ",") + std::to_string(size);
    }
    hash.update(name);
    hash.update(kNul);
    hash.update(safetensors_name(tensor.dtype()));
    hash.update(kNul);
    hash.update(shape);
    hash.update(kNul);
    hash.update(tensor.byte_span());
  }
  return hash.hex();
}

}  // namespace dlt::checkpoint
