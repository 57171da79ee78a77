// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/manifest.h"

#include <algorithm>
#include <limits>
#include <set>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/files.h"

namespace dlt::checkpoint {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "dltrain-checkpoint";
constexpr const char* kHashKey = "manifest_sha256";
constexpr std::string_view kBeforeHash = "\"manifest_sha256\": \"";
constexpr std::string_view kBehindHash = "\"\n}\n";
constexpr std::size_t kHashDigits = 64;
constexpr int kMaxDepth = 3;  // the manifest, "files", a file

bool is_hash(std::string_view text) {
  return text.size() == kHashDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string hash_around(std::string_view before, std::string_view behind) {
  Sha256 hash;
  hash.update(before);
  hash.update(behind);
  return hash.hex();
}

class Reader {
 public:
  explicit Reader(const std::string& source) : source_(source) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(Exit::data, cat(source_, ": ", what));
  }

  /// The hash is the last member and is written in one way only: every byte of the file is either
  /// hashed, or a digit of the hash, or fixed.
  void check_hash(std::string_view text) const {
    const std::size_t tail = kHashDigits + kBehindHash.size();
    const bool has_form = text.size() >= kBeforeHash.size() + tail && text.ends_with(kBehindHash) &&
                          text.substr(0, text.size() - tail).ends_with(kBeforeHash);
    if (!has_form) fail("does not end with its manifest_sha256: cut short or changed");
    const std::string_view expected = text.substr(text.size() - tail, kHashDigits);
    const std::string found = hash_around(text.substr(0, text.size() - tail), kBehindHash);
    if (found != expected) {
      fail(cat("changed since it was written: SHA-256 is ", found.substr(0, 12),
               "..., want manifest_sha256 ", printable(expected.substr(0, 12)), "..."));
    }
  }

  [[nodiscard]] Json parse(std::string_view text) const {
    std::vector<std::set<std::string>> keys;
    const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
      const bool starts =
          event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
      if (starts && depth >= kMaxDepth) fail("nested too deeply");
      if (event == Json::parse_event_t::object_start) keys.emplace_back();
      if (event == Json::parse_event_t::object_end) keys.pop_back();
      if (event == Json::parse_event_t::key &&
          !keys.back().insert(value.get<std::string>()).second) {
        fail(cat("duplicate key '", printable(value.get<std::string>()), "'"));
      }
      return true;
    };
    Json json = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
    if (!json.is_object()) fail("not a JSON object");
    return json;
  }

  void require_keys(const Json& object, const std::string& where,
                    const std::vector<std::string>& keys) const {
    if (!object.is_object()) fail(cat(where, ": want an object"));
    for (const std::string& key : keys) {
      if (!object.contains(key)) fail(cat(where, ": no key '", key, "'"));
    }
    for (const auto& [key, value] : object.items()) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
        fail(cat(where, ": unknown key '", printable(key), "'"));
      }
    }
  }

  [[nodiscard]] std::int64_t integer(const Json& object, const char* key,
                                     std::int64_t least = 0) const {
    const Json& value = object.at(key);
    const auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most ||
        value.get<std::int64_t>() < least) {
      fail(cat("'", key, "': want an integer of at least ", least, ", got ",
               printable(value.dump(-1, ' ', false, Json::error_handler_t::replace))));
    }
    return value.get<std::int64_t>();
  }

  [[nodiscard]] std::string word(const Json& object, const char* key) const {
    if (!object.at(key).is_string()) fail(cat("'", key, "': want a string"));
    return object.at(key).get<std::string>();
  }

  [[nodiscard]] std::string hash(const Json& object, const char* key) const {
    std::string text = word(object, key);
    if (!is_hash(text)) fail(cat("'", key, "': want 64 hex digits, got '", printable(text), "'"));
    return text;
  }

 private:
  const std::string& source_;
};

}  // namespace

std::string encode_manifest(const Manifest& manifest) {
  Json files = Json::object();
  for (const auto& [name, facts] : manifest.files) {
    files[name] = {{"bytes", facts.num_bytes}, {"sha256", facts.sha256}};
  }
  const Json json = {{"format", kFormat},
                     {"format_version", kFormatVersion},
                     {"step", manifest.step},
                     {"epoch", manifest.epoch},
                     {"epoch_samples", manifest.epoch_samples},
                     {"leaves", manifest.leaves},
                     {"created_wall", manifest.created_wall_s},
                     {"config_fingerprint", manifest.config_fingerprint},
                     {"config_yaml", manifest.config_yaml},
                     {"weights_hash", manifest.weights_hash},
                     {"files", std::move(files)},
                     {kHashKey, ""}};
  std::string text;
  try {
    text = json.dump(2) + "\n";
  } catch (const Json::exception&) {
    throw Error(Exit::config, "checkpoint: the configuration is not UTF-8");
  }
  if (text.size() + kHashDigits > kMaxManifest_bytes) {
    throw Error(Exit::config, cat("checkpoint: manifest of ", text.size(), " bytes, want at most ",
                                  kMaxManifest_bytes));
  }
  DLT_CHECK(text.ends_with(std::string(kBeforeHash) + std::string(kBehindHash)), text);
  text.insert(text.size() - kBehindHash.size(), hash_around(text, ""));
  return text;
}

Manifest decode_manifest(const std::string& source, std::string_view text) {
  const Reader reader(source);
  if (text.size() > kMaxManifest_bytes) {
    reader.fail(cat(text.size(), " bytes, want at most ", kMaxManifest_bytes));
  }
  reader.check_hash(text);
  const Json json = reader.parse(text);
  if (!json.contains("format") || json.at("format") != kFormat) {
    reader.fail(cat("not a checkpoint's manifest: want \"format\": \"", kFormat, "\""));
  }
  if (!json.contains("format_version")) reader.fail("no key 'format_version'");
  const std::int64_t version = reader.integer(json, "format_version");
  if (version != kFormatVersion) {
    reader.fail(cat("format version ", version, ", this program reads ", kFormatVersion));
  }
  reader.require_keys(
      json, "manifest",
      {"format", "format_version", "step", "epoch", "epoch_samples", "leaves", "created_wall",
       "config_fingerprint", "config_yaml", "weights_hash", "files", kHashKey});
  reader.require_keys(json.at("files"), "files", {kModelFile, kOptimizerFile});
  Manifest out;
  out.step = reader.integer(json, "step");
  out.epoch = reader.integer(json, "epoch");
  out.epoch_samples = reader.integer(json, "epoch_samples");
  out.leaves = reader.integer(json, "leaves", 1);
  out.created_wall_s = reader.integer(json, "created_wall");
  out.config_fingerprint = reader.word(json, "config_fingerprint");
  out.config_yaml = reader.word(json, "config_yaml");
  out.weights_hash = reader.hash(json, "weights_hash");
  for (const auto& [name, facts] : json.at("files").items()) {
    reader.require_keys(facts, name, {"bytes", "sha256"});
    out.files[name] = {.num_bytes = reader.integer(facts, "bytes"),
                       .sha256 = reader.hash(facts, "sha256")};
  }
  return out;
}

}  // namespace dlt::checkpoint
