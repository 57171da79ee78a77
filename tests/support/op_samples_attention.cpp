// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "support/op_sample_families.h"

namespace dlt::support {
namespace {

using tensor::Attrs;

struct AttentionCase {
  std::int64_t batch, length, heads, kv_heads, head_size;
  bool causal, masked;
  double rate;
};

/// attention and its derivative with any y and log-sum-exp.
void add_attention(std::vector<OpSample>& samples, const AttentionCase& c) {
  Attrs attrs{{"heads", c.heads}, {"kv_heads", c.kv_heads}};
  if (c.causal) attrs.set("causal", std::int64_t{1});
  if (c.rate > 0) {
    attrs.set("rate", c.rate);
    attrs.set("op", static_cast<std::int64_t>(rng::op_id("attention_1")));
  }
  const SampleInput qkv{{c.batch, c.length, (c.heads + 2 * c.kv_heads) * c.head_size}};
  const SampleInput y{{c.batch, c.length, c.heads * c.head_size}};
  const SampleInput lse{{c.batch, c.heads, c.length}, Fill::positive};
  std::vector<SampleInput> forward{qkv}, backward{qkv, y, lse, y};
  if (c.masked) {
    forward.push_back(target({c.batch, c.length}, Fill::mask));
    backward.push_back(forward.back());
  }
  samples.push_back({"attention", std::move(forward), attrs});
  samples.push_back({"attention_grad", std::move(backward), attrs});
}

void add_positions(std::vector<OpSample>& samples) {
  samples.push_back({"embedding", {labels({2, 5}, 6), {{6, 4}}}, {}});
  samples.push_back({"embedding", {labels({9}, 4), {{4, 33}}}, {}});
  samples.push_back(
      {"embedding_grad", {labels({2, 5}, 4), {{2, 5, 21}}}, {{"rows", std::int64_t{6}}}});
  samples.push_back({"token_mask", {labels({4, 9}, 2)}, {}});
  samples.push_back({"position_add", {{{2, 4, 5}}, {{4, 5}}}, {}});
  samples.push_back({"position_add", {{{2, 4, 21}}, {{6, 21}}}, {}});
  samples.push_back({"position_add_grad", {{{2, 4, 21}}}, {{"rows", std::int64_t{6}}}});
  samples.push_back({"position_add_grad", {{{5, 4, 4}}}, {{"rows", std::int64_t{4}}}});
  samples.push_back({"sinusoid_add", {{{2, 5, 9}}}, {}});
  samples.push_back({"sinusoid_add", {{{2, 5, 8}}}, {{"theta", 500.0}}});
  const std::int64_t two = 2, size = 10, yes = 1;
  samples.push_back({"rope", {{{2, 6, 33}}}, {{"heads", two}, {"head_size", size}}});
  samples.push_back({"rope",
                     {{{2, 6, 36}}},
                     {{"head_size", std::int64_t{36}}, {"theta", 100.0}, {"inverse", yes}}});
}

}  // namespace

void add_attention_samples(std::vector<OpSample>& samples) {
  add_positions(samples);
  add_attention(samples, {2, 5, 2, 2, 4, false, false, 0});
  add_attention(samples, {2, 9, 1, 1, 5, true, false, 0});
  add_attention(samples, {1, 6, 4, 2, 3, true, false, 0});
  add_attention(samples, {2, 6, 2, 1, 4, false, true, 0});
  add_attention(samples, {2, 8, 2, 2, 2, true, true, 0});
  add_attention(samples, {3, 11, 2, 2, 2, false, false, 0.3});
  add_attention(samples, {2, 10, 2, 1, 3, true, true, 0.2});
}

}  // namespace dlt::support
