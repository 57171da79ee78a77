// SPDX-License-Identifier: Apache-2.0
#include "train/run_dir.h"

#include <charconv>
#include <fstream>
#include <map>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::train {
namespace {

[[noreturn]] void refuse_change(const std::string& dir, const std::string& key,
                                const std::string& now, const std::string& before) {
  throw Error(Exit::config,
              cat(key, ": expected '", printable(before), "' as in the run of ", dir, ", got '",
                  printable(now), "'"),
              "only train.epochs and train.steps may be raised, and train.shard changed; choose "
              "another run.dir, or start "
              "anew with --overwrite");
}

std::optional<std::int64_t> integer_of(const std::map<std::string, std::string>& values,
                                       const char* key) {
  const auto it = values.find(key);
  if (it == values.end()) return std::nullopt;
  return std::stoll(it->second);
}

}  // namespace

/// Refuses the first key that differs, in the order of the new configuration.
void require_same_config(const RunConfig& config, const std::string& before_yaml,
                         const std::string& dir) {
  config::Diagnostics diagnostics;
  const config::Node before_tree = config::parse(dir, before_yaml, diagnostics);
  if (!diagnostics.ok()) {
    throw Error(Exit::data, cat(dir, ": the checkpoint's configuration cannot be read"));
  }
  const config::Node now_tree = config::parse(dir, resolved_yaml(config), diagnostics);
  const FlatConfig before_flat = flatten_config(before_tree);
  const FlatConfig now_flat = flatten_config(now_tree);
  const std::map<std::string, std::string> before(before_flat.begin(), before_flat.end());
  const std::map<std::string, std::string> now(now_flat.begin(), now_flat.end());
  for (const auto& [key, value] : now_flat) {
    if (may_change_on_resume(key)) continue;
    const auto it = before.find(key);
    if (it == before.end()) refuse_change(dir, key, value, "nothing");
    if (it->second != value) refuse_change(dir, key, value, it->second);
  }
  for (const auto& [key, value] : before_flat) {
    if (!may_change_on_resume(key) && !now.contains(key)) refuse_change(dir, key, "nothing", value);
  }
  for (const char* key : {"train.epochs", "train.steps"}) {
    const auto was = integer_of(before, key);
    const auto is = integer_of(now, key);
    if (was && is && *is < *was) refuse_change(dir, key, std::to_string(*is), std::to_string(*was));
  }
}

double first_start_wall_s(const std::string& events_path) {
  std::ifstream file(events_path);
  std::string line;
  std::getline(file, line);
  constexpr std::string_view kKey = "\"t_wall\":";
  const std::size_t at = line.find(kKey);
  double seconds = 0;
  if (at != std::string::npos) {
    const char* begin = line.data() + at + kKey.size();
    while (*begin == ' ') ++begin;
    const auto [end, code] = std::from_chars(begin, line.data() + line.size(), seconds);
    if (code == std::errc() && seconds > 0) return seconds;
  }
  return SystemClock().wall_s();
}

std::string resolved_yaml(const RunConfig& config) { return config::to_yaml(config.resolved); }

ResumeDecision decide_resume(const RunConfig& config, const ResumeOptions& options, Fs& fs) {
  ResumeDecision out;
  if (options.mode == ResumeMode::path) {
    out.checkpoint = checkpoint::load_any(options.path);
    require_same_config(config, out.checkpoint->config_yaml, options.path);
    return out;
  }
  if (options.overwrite || options.mode == ResumeMode::never) {
    out.clear = true;
    return out;
  }
  const RunPaths paths(config.dir);
  const checkpoint::Store store(fs, paths.checkpoints, config.checkpoint.keep);
  out.checkpoint = store.load_newest(out.warnings);
  if (out.checkpoint) {
    require_same_config(config, out.checkpoint->config_yaml, paths.dir);
  } else {
    out.clear = true;  // nothing to go on from: what an interrupted start left is of no use
  }
  return out;
}

void clear_run(const RunPaths& paths, Fs& fs, Events events) {
  for (const std::string& name : list_directory(paths.dir)) {
    const std::string path = paths.dir + "/" + name;
    if (name.starts_with("events.out.tfevents.") || path == paths.config ||
        path == paths.manifest || path == paths.checkpoints || path == paths.hashes ||
        path == paths.logs || path == paths.summary ||
        (path == paths.events && events == Events::remove)) {
      fs.remove_tree(path);
    }
  }
}

}  // namespace dlt::train
