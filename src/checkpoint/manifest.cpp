// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/manifest.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

namespace dlt::checkpoint {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kHashField = "manifest_sha256";
constexpr std::size_t kHashChars = 64;
constexpr int kMaxDepth = 4;

[[noreturn]] void bad(const std::string& source, const std::string& what) {
  throw Error(Exit::data, cat(source, ": ", what));
}

std::string hash_of(const std::string& text) {
  return sha256_hex(std::as_bytes(std::span<const char>(text)));
}

std::int64_t integer(const std::string& source, const Json& json, const char* key) {
  if (!json.contains(key) || !json.at(key).is_number_integer())
    bad(source, cat("'", key, "': expected an integer"));
  const auto value = json.at(key).get<std::int64_t>();
  if (value < 0) bad(source, cat("'", key, "': expected a non-negative integer, got ", value));
  return value;
}

std::string word(const std::string& source, const Json& json, const char* key) {
  if (!json.contains(key) || !json.at(key).is_string())
    bad(source, cat("'", key, "': expected a string"));
  return json.at(key).get<std::string>();
}

}  // namespace

std::string manifest_text(const Manifest& manifest) {
  Json files = Json::object();
  for (const auto& [name, facts] : manifest.files)
    files[name] = {{"bytes", facts.num_bytes}, {"sha256", facts.sha256}};
  const Json json = {{"format", kFormatVersion},
                     {"step", manifest.step},
                     {"epoch", manifest.epoch},
                     {"epoch_samples", manifest.epoch_samples},
                     {"leaves", manifest.leaves},
                     {"config_fingerprint", manifest.config_fingerprint},
                     {"weights_hash", manifest.weights_hash},
                     {"files", files},
                     {"config_yaml", manifest.config_yaml},
                     {kHashField, std::string(kHashChars, '0')}};
  std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  text.replace(text.rfind('"') - kHashChars, kHashChars, hash_of(text));
  return text;
}

Manifest read_manifest(const std::string& source, const std::string& text) {
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= kMaxDepth; };
  const Json json = Json::parse(text, shallow, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) bad(source, "not a JSON object");
  const std::int64_t format = integer(source, json, "format");
  if (format != kFormatVersion) bad(source, cat("format ", format, ", expected ", kFormatVersion));
  const std::string claimed = word(source, json, kHashField);
  std::string zeroed = text;
  const std::size_t at = text.rfind(claimed);
  if (claimed.size() != kHashChars || at == std::string::npos)
    bad(source, cat("'", kHashField, "' is not a SHA-256"));
  zeroed.replace(at, kHashChars, std::string(kHashChars, '0'));
  const std::string found = hash_of(zeroed);
  if (found != claimed) {
    bad(source, cat("its SHA-256 is ", found.substr(0, 12), "..., expected ",
                    printable(claimed.substr(0, 12)), "..."));
  }
  Manifest out{.step = integer(source, json, "step"),
               .epoch = integer(source, json, "epoch"),
               .epoch_samples = integer(source, json, "epoch_samples"),
               .leaves = integer(source, json, "leaves"),
               .config_fingerprint = word(source, json, "config_fingerprint"),
               .config_yaml = word(source, json, "config_yaml"),
               .weights_hash = word(source, json, "weights_hash"),
               .files = {}};
  if (!json.contains("files") || !json.at("files").is_object())
    bad(source, "'files': expected an object");
  for (const auto& [name, facts] : json.at("files").items()) {
    out.files[name] = {.num_bytes = integer(source, facts, "bytes"),
                       .sha256 = word(source, facts, "sha256")};
  }
  return out;
}

}  // namespace dlt::checkpoint
