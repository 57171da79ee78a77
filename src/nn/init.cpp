// SPDX-License-Identifier: Apache-2.0
#include "nn/init.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"
#include "config/node.h"
#include "nn/orthogonal.h"

namespace dlt::nn {
namespace {

struct InitName {
  const char* name;
  InitKind kind;
};
constexpr std::array<InitName, 8> kInitNames{{{"glorot_normal", InitKind::glorot_normal},
                                              {"glorot_uniform", InitKind::glorot_uniform},
                                              {"he_normal", InitKind::he_normal},
                                              {"he_uniform", InitKind::he_uniform},
                                              {"normal", InitKind::normal},
                                              {"ones", InitKind::ones},
                                              {"orthogonal", InitKind::orthogonal},
                                              {"zeros", InitKind::zeros}}};

/// The uniform stream of a key, element by element what rng::uniform gives, in batches of blocks
/// so that the ten Philox rounds of several blocks run side by side in vector registers.
void fill_uniform(const rng::Key& key, double limit, float* out, std::int64_t numel) {
  constexpr std::int64_t kBlocks = 64;
  const auto scale = static_cast<float>(limit);
  std::array<float, 4 * kBlocks> batch;
  for (std::int64_t begin = 0; begin < numel; begin += 4 * kBlocks) {
    const auto first = static_cast<std::uint32_t>(begin / 4);
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
      const std::array<std::uint32_t, 4> words = rng::block(key, first + i);
      for (std::size_t w = 0; w < 4; ++w) {
        batch[4 * i + w] = (2.0f * rng::to_unit(words[w]) - 1.0f) * scale;
      }
    }
    const std::int64_t count = std::min(numel - begin, 4 * kBlocks);
    std::copy_n(batch.data(), count, out + begin);
  }
}

void fill_normal(const rng::Key& key, double stddev, float* out, std::int64_t numel) {
  const auto scale = static_cast<float>(stddev);
  for (std::int64_t i = 0; i < numel; ++i) {
    out[i] = rng::normal(key, static_cast<std::uint64_t>(i)) * scale;
  }
}

void fill(const Init& init, const rng::Key& key, float* out, const tensor::Shape& shape) {
  const std::int64_t numel = shape.numel();
  const double fans = init.fan_in + init.fan_out;
  switch (init.kind) {
    case InitKind::zeros:
      std::fill_n(out, numel, 0.0f);
      return;
    case InitKind::ones:
      std::fill_n(out, numel, 1.0f);
      return;
    case InitKind::normal:
      fill_normal(key, init.scale * init.stddev, out, numel);
      return;
    case InitKind::glorot_uniform:
      fill_uniform(key, init.scale * std::sqrt(6.0 / fans), out, numel);
      return;
    case InitKind::glorot_normal:
      fill_normal(key, init.scale * std::sqrt(2.0 / fans), out, numel);
      return;
    case InitKind::he_uniform:
      fill_uniform(key, init.scale * std::sqrt(6.0 / init.fan_in), out, numel);
      return;
    case InitKind::he_normal:
      fill_normal(key, init.scale * std::sqrt(2.0 / init.fan_in), out, numel);
      return;
    case InitKind::orthogonal:
      fill_orthogonal(key, shape.rows(), shape.last(), out);
      for (std::int64_t i = 0; i < numel; ++i) out[i] *= static_cast<float>(init.scale);
      return;
  }
}

InitKind kind_of(std::string_view name, InitKind fallback) {
  for (const InitName& row : kInitNames) {
    if (row.name == name) return row.kind;
  }
  return fallback;
}

std::string name_of(InitKind kind) {
  for (const InitName& row : kInitNames) {
    if (row.kind == kind) return row.name;
  }
  return "";
}

}  // namespace

std::vector<std::string> init_names() {
  std::vector<std::string> names;
  for (const InitName& row : kInitNames) names.emplace_back(row.name);
  return names;
}

Init read_init(config::MapReader& options, const std::string& key, const Init& fallback) {
  const config::Node* node = options.child(key);
  if (node != nullptr && node->kind != config::Kind::map) {
    return {.kind = kind_of(options.choice(key, init_names()), fallback.kind)};
  }
  // A missing key is read as a map, too, so that its defaults are noted one by one.
  const bool missing = node == nullptr;
  config::MapReader reader = options.map(key);
  Init result;
  result.kind = kind_of(missing ? reader.choice("name", init_names(), name_of(fallback.kind))
                                : reader.choice("name", init_names()),
                        fallback.kind);
  if (result.kind == InitKind::normal) {
    result.stddev =
        reader.number("stddev", {.min = 0, .max = 1e6}, missing ? fallback.stddev : result.stddev);
  }
  reader.finish();
  return result;
}

Init read_init(config::MapReader& options, const std::string& key, InitKind fallback) {
  const config::Node* node = options.child(key);
  if (node != nullptr) return read_init(options, key, Init{.kind = fallback});
  return {.kind = kind_of(options.choice(key, init_names(), name_of(fallback)), fallback)};
}

void initialize(const tensor::FlatLayout& layout, const std::vector<ParamSpec>& specs,
                std::uint64_t seed, float* flat) {
  std::unordered_map<std::string_view, const ParamSpec*> by_name;
  for (const ParamSpec& spec : specs) by_name.emplace(spec.name, &spec);
  std::int64_t end = 0;
  for (const tensor::FlatLayout::Entry& entry : layout.entries) {
    const auto found = by_name.find(entry.name);
    DLT_CHECK(found != by_name.end(), cat("no start values for parameter ", entry.name));
    const ParamSpec& spec = *found->second;
    DLT_CHECK(spec.shape == entry.shape,
              cat("parameter ", entry.name, ": shape ", spec.shape.text(), " in the model, ",
                  entry.shape.text(), " in the layout"));
    std::fill(flat + end, flat + entry.offset, 0.0f);
    const rng::Key key{.seed = seed, .op = rng::op_id(entry.name), .epoch = 0, .sample = 0};
    fill(spec.init, key, flat + entry.offset, entry.shape);
    std::fill(flat + entry.offset + spec.init.ones_from, flat + entry.offset + spec.init.ones_to,
              1.0f);
    end = entry.offset + entry.numel;
  }
  std::fill(flat + end, flat + layout.total, 0.0f);
}

}  // namespace dlt::nn
