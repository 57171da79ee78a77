// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/best.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/files.h"

namespace dlt::checkpoint {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::uint64_t kMaxBytes = 64 << 10;

}  // namespace

std::optional<Best> read_best(const std::string& directory) {
  const std::string path = directory + "/" + kBestFile;
  if (!exists(path)) return {};
  std::string text;
  try {
    text = read_file(path, {.max_bytes = kMaxBytes, .nofollow = true});
  } catch (const Error&) {
    return {};
  }
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("step") || !json.at("step").is_number_unsigned() ||
      !json.contains("metric") || !json.at("metric").is_string() || !json.contains("value") ||
      !json.at("value").is_number()) {
    return {};
  }
  return Best{.step = json.at("step").get<std::int64_t>(),
              .metric = json.at("metric").get<std::string>(),
              .value = json.at("value").get<double>()};
}

void write_best(Fs& fs, const std::string& directory, const Best& best) {
  const Json json{{"step", best.step}, {"metric", best.metric}, {"value", best.value}};
  write_atomically(fs, directory + "/" + kBestFile,
                   json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace dlt::checkpoint
