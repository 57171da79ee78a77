// SPDX-License-Identifier: Apache-2.0
#include "e2e/e2e.h"

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>

#include "base/fs.h"

namespace dlt::e2e {

ProgramResult run_with(Words program, const Words& words, const ProgramOptions& options) {
  program.insert(program.end(), words.begin(), words.end());
  return run_program(program, options);
}

std::string digits_yaml() {
  return R"(run: {name: t, dir: RUN_DIR, seed: 1}
model:
  input: [8, 8, 1]
  layers:
    - flatten
    - dense: {units: 16, activation: relu}
    - dense: {units: 10}
loss: cross_entropy
metrics: [accuracy]
data:
  train: {file: datasets/digits.h5, inputs: /train/images, targets: /train/labels, scale: 0.0625}
  eval: {file: datasets/digits.h5, inputs: /test/images, targets: /test/labels, scale: 0.0625}
  global_batch_size: 64
train: {epochs: 1, leaves: 4}
optimizer:
  name: adam
  learning_rate: 0.005
)";
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << "not in the text: " << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

int count(std::string_view text, std::string_view what) {
  int out = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos;
       at = text.find(what, at + what.size()))
    ++out;
  return out;
}

std::string json_value(const std::string& text, const std::string& name) {
  const std::string key = "\"" + name + "\":";
  const std::size_t at = text.find(key);
  if (at == std::string::npos) return "";
  std::size_t begin = text.find_first_not_of(" \"", at + key.size());
  return text.substr(begin, text.find_first_of("\",\n}", begin) - begin);
}

std::string summary_hash(const std::string& run_dir) {
  return json_value(read_file(run_dir + "/summary.json"), "weights_hash");
}

std::string whole_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

std::vector<std::pair<pid_t, std::string>> processes_with(const std::string& word) {
  std::vector<std::pair<pid_t, std::string>> out;
  for (const std::string& name : list_directory("/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string words = whole_file("/proc/" + name + "/cmdline");
    if (words.find(word) == std::string::npos) continue;
    const std::string program = words.substr(0, words.find('\0'));
    out.emplace_back(std::stoi(name), program.substr(program.rfind('/') + 1));
  }
  return out;
}

void wait_for_step(const std::string& run_dir, int step) {
  const std::string text = "\"step\": " + std::to_string(step) + ",";
  for (int i = 0; i < 4000 && whole_file(run_dir + "/events.jsonl").find(text) == std::string::npos;
       ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace dlt::e2e
