// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/samples.h"

#include <algorithm>

namespace dlt::checkpoint::test {

tensor::StateDict sample_model() {
  tensor::StateDict out;
  out["emb"] = make_tensor<std::uint16_t>({2}, DType::bf16, {0x3f80, 0xc000});
  out["dense_1.weight"] = make_tensor<float>({2, 3}, DType::f32, {0, 0.5f, 1, 1.5f, 2, 2.5f});
  out["dense_1.bias"] = make_tensor<float>({3}, DType::f32, {-1, 0, 1});
  out["count"] = make_tensor<std::int64_t>({}, DType::i64, {7});
  return out;
}

Checkpoint sample_checkpoint(std::int64_t step, int variant) {
  Checkpoint out;
  out.step = step;
  out.epoch = step / 10;
  out.epoch_samples = 64 * (step % 10);
  out.leaves = 4 + variant;
  out.config_fingerprint = "fingerprint of the configuration";
  out.config_yaml = "run: {name: digits, note: \"gr\xc3\xbc\xc3\x9f\x65\"}\ntrain: {epochs: 20}\n";
  out.model = sample_model();
  const auto first = static_cast<float>(step + 1000 * variant);
  out.model["dense_1.bias"] = make_tensor<float>({3}, DType::f32, {first, 0.1f, -0.f});
  out.optimizer["m.dense_1.bias"] = make_tensor<float>({3}, DType::f32, {first / 3, 0, 1});
  out.optimizer["v.dense_1.bias"] = make_tensor<double>({2}, DType::f64, {1e-300, first / 7.});
  out.optimizer["empty"] = tensor::Tensor({0, 5}, DType::u8);
  return out;
}

bool same(const tensor::StateDict& a, const tensor::StateDict& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    const auto p = x.second.byte_span(), q = y.second.byte_span();
    return x.first == y.first && x.second.type() == y.second.type() &&
           std::equal(p.begin(), p.end(), q.begin(), q.end());
  });
}

std::string difference(const Checkpoint& a, const Checkpoint& b) {
  if (a.step != b.step) return "step " + std::to_string(a.step) + ", " + std::to_string(b.step);
  if (a.epoch != b.epoch || a.epoch_samples != b.epoch_samples) return "epoch position";
  if (a.leaves != b.leaves) return "leaves";
  if (a.config_fingerprint != b.config_fingerprint) return "config_fingerprint";
  if (a.config_yaml != b.config_yaml) return "config_yaml";
  if (!same(a.model, b.model)) return "model";
  return same(a.optimizer, b.optimizer) ? "" : "optimizer";
}

}  // namespace dlt::checkpoint::test
