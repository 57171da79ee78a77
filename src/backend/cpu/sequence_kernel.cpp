// SPDX-License-Identifier: Apache-2.0
// Kernels of embedding and of the position ops. Tables of angles are made once, with the kernel.
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "backend/cpu/routines.h"
#include "backend/cpu/sequence.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::cpu {
namespace {

using tensor::KernelArgs;
using tensor::KernelSpec;
using tensor::Shape;

/// errors  Exit::data naming the place of an id that is not a row of the weight
void check_ids(const std::int32_t* ids, const Shape& shape, std::int64_t rows) {
  const std::int64_t numel = shape.numel();
  for (std::int64_t i = 0; i < numel; ++i) {
    if (ids[i] >= 0 && ids[i] < rows) continue;
    const std::int64_t each = shape.without_front().numel();
    throw Error(Exit::data, cat("embedding: token id ", ids[i], " at sample ", i / each,
                                ", position ", i % each, "; want 0 to ", rows - 1));
  }
}

std::size_t row_bytes(std::int64_t n) { return static_cast<std::size_t>(n) * sizeof(float); }

class Embedding final : public tensor::Kernel {
 public:
  void run(const KernelArgs& args) const override {
    const auto* ids = args.inputs[0].as<const std::int32_t>();
    const std::int64_t n = args.inputs[1].type.shape[1], count = args.inputs[0].numel();
    check_ids(ids, args.inputs[0].type.shape, args.inputs[1].type.shape[0]);
    if (n == 0) return;
    for (std::int64_t i = 0; i < count; ++i) {
      std::memcpy(args.outputs[0].as<float>() + i * n,
                  args.inputs[1].as<const float>() + ids[i] * n, row_bytes(n));
    }
  }
};

/// Zeros, and the rows of the tokens that occur, each added in the order of its positions.
class EmbeddingGrad final : public tensor::Kernel {
 public:
  explicit EmbeddingGrad(decltype(&avx2::add_row) add) : add_(add) {}
  void run(const KernelArgs& args) const override {
    const auto* ids = args.inputs[0].as<const std::int32_t>();
    const Shape& weight = args.outputs[0].type.shape;
    const std::int64_t n = weight[1], count = args.inputs[0].numel();
    check_ids(ids, args.inputs[0].type.shape, weight[0]);
    float* dw = args.outputs[0].as<float>();
    if (weight.numel() > 0) std::memset(dw, 0, row_bytes(weight.numel()));
    for (std::int64_t i = 0; i < count; ++i) {
      add_(args.inputs[1].as<const float>() + i * n, dw + ids[i] * n, n);
    }
  }

 private:
  decltype(&avx2::add_row) add_;
};

class TokenMask final : public tensor::Kernel {
 public:
  void run(const KernelArgs& args) const override {
    const auto* ids = args.inputs[0].as<const std::int32_t>();
    float* mask = args.outputs[0].as<float>();
    const std::int64_t count = args.inputs[0].numel();
    for (std::int64_t i = 0; i < count; ++i) mask[i] = ids[i] != 0 ? 1.0f : 0.0f;
  }
};

/// Adds input 1, or a table of its own, to every sample.
class TableAdd final : public tensor::Kernel {
 public:
  TableAdd(decltype(&avx2::add_table) add, std::vector<float> table)
      : add_(add), table_(std::move(table)) {}
  void run(const KernelArgs& args) const override {
    const Shape& shape = args.inputs[0].type.shape;
    const float* table = args.inputs.size() > 1 ? args.inputs[1].as<const float>() : table_.data();
    add_(args.inputs[0].as<const float>(), table, args.outputs[0].as<float>(), shape[0],
         shape[1] * shape[2]);
  }

 private:
  decltype(&avx2::add_table) add_;
  std::vector<float> table_;
};

class PositionAddGrad final : public tensor::Kernel {
 public:
  explicit PositionAddGrad(decltype(&avx2::sum_runs) sum) : sum_(sum) {}
  void run(const KernelArgs& args) const override {
    const Shape& shape = args.inputs[0].type.shape;
    const std::int64_t n = shape[1] * shape[2], rest = args.outputs[0].numel() - n;
    float* dp = args.outputs[0].as<float>();
    sum_(args.inputs[0].as<const float>(), dp, shape[0], n);
    if (rest > 0) std::memset(dp + n, 0, row_bytes(rest));
  }

 private:
  decltype(&avx2::sum_runs) sum_;
};

class Rope final : public tensor::Kernel {
 public:
  Rope(const KernelSpec& spec, decltype(&avx2::rotate) rotate) : rotate_(rotate) {
    const Shape& shape = spec.inputs[0].shape;
    plan_.rows = shape[0] * shape[1];
    plan_.width = shape[2];
    plan_.length = shape[1];
    plan_.heads = spec.attrs.integer("heads", 1);
    plan_.size = spec.attrs.integer("head_size");
    const double theta = spec.attrs.number("theta", 10000.0);
    const double sign = spec.attrs.integer("inverse") != 0 ? -1.0 : 1.0;
    for (std::int64_t i = 0; i < shape[1] * plan_.size / 2; ++i) {
      const std::int64_t t = i / (plan_.size / 2), d = i % (plan_.size / 2);
      const double power = 2.0 * static_cast<double>(d) / static_cast<double>(plan_.size);
      const double angle = static_cast<double>(t) * std::pow(theta, -power);
      cosine_.push_back(static_cast<float>(std::cos(angle)));
      sine_.push_back(static_cast<float>(sign * std::sin(angle)));
    }
  }
  void run(const KernelArgs& args) const override {
    Rotation r = plan_;
    r.x = args.inputs[0].as<const float>();
    r.y = args.outputs[0].as<float>();
    r.cosine = cosine_.data();
    r.sine = sine_.data();
    rotate_(r);
  }

 private:
  decltype(&avx2::rotate) rotate_;
  Rotation plan_;
  std::vector<float> cosine_, sine_;
};

bool last_is_f32(const KernelSpec& spec) { return spec.inputs.back().dtype == DType::f32; }

std::vector<float> sinusoids(const Shape& shape, double theta) {
  std::vector<float> table;
  for (std::int64_t i = 0; i < shape[1] * shape[2]; ++i) {
    const std::int64_t t = i / shape[2], c = i % shape[2];
    const double power = static_cast<double>(c / 2 * 2) / static_cast<double>(shape[2]);
    const double angle = static_cast<double>(t) * std::pow(theta, -power);
    table.push_back(static_cast<float>(c % 2 == 0 ? std::sin(angle) : std::cos(angle)));
  }
  return table;
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_embedding(const KernelSpec& spec, Isa) {
  if (!last_is_f32(spec)) return nullptr;
  return std::make_unique<Embedding>();
}

std::unique_ptr<tensor::Kernel> make_embedding_grad(const KernelSpec& spec, Isa isa) {
  if (!last_is_f32(spec)) return nullptr;
  return std::make_unique<EmbeddingGrad>(isa == Isa::avx512 ? avx512::add_row : avx2::add_row);
}

std::unique_ptr<tensor::Kernel> make_token_mask(const KernelSpec&, Isa) {
  return std::make_unique<TokenMask>();
}

std::unique_ptr<tensor::Kernel> make_position_add(const KernelSpec& spec, Isa isa) {
  if (!last_is_f32(spec)) return nullptr;
  return std::make_unique<TableAdd>(isa == Isa::avx512 ? avx512::add_table : avx2::add_table,
                                    std::vector<float>{});
}

std::unique_ptr<tensor::Kernel> make_position_add_grad(const KernelSpec& spec, Isa isa) {
  if (!last_is_f32(spec)) return nullptr;
  return std::make_unique<PositionAddGrad>(isa == Isa::avx512 ? avx512::sum_runs : avx2::sum_runs);
}

std::unique_ptr<tensor::Kernel> make_sinusoid_add(const KernelSpec& spec, Isa isa) {
  if (!last_is_f32(spec)) return nullptr;
  return std::make_unique<TableAdd>(
      isa == Isa::avx512 ? avx512::add_table : avx2::add_table,
      sinusoids(spec.inputs[0].shape, spec.attrs.number("theta", 10000.0)));
}

std::unique_ptr<tensor::Kernel> make_rope(const KernelSpec& spec, Isa isa) {
  if (!last_is_f32(spec)) return nullptr;
  return std::make_unique<Rope>(spec, isa == Isa::avx512 ? avx512::rotate : avx2::rotate);
}

}  // namespace dlt::cpu
