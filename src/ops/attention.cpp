// SPDX-License-Identifier: Apache-2.0
// attention and its derivative: softmax(q k^T / sqrt(D)) v for every head, without ever holding the
// matrix of probabilities. source  Dao et al. 2022, "FlashAttention", arXiv:2205.14135
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "autodiff/graph.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;
using tensor::Shape;
using tensor::TensorType;

constexpr std::int64_t kMaxHeadSize = 1024;
constexpr std::int64_t kMaxDraws = std::int64_t{1} << 34;  // elements of a random stream

/// Sizes that the attributes and the packed input determine.
struct Sizes {
  std::int64_t batch, length, heads, kv_heads, head_size;
  [[nodiscard]] std::int64_t width() const { return (heads + 2 * kv_heads) * head_size; }
  [[nodiscard]] std::int64_t group() const { return heads / kv_heads; }
  /// Numbers drawn for one row of probabilities: rounded up to whole blocks of four.
  [[nodiscard]] std::int64_t row_draws() const { return (length + 3) / 4 * 4; }
};

Sizes sizes_of(const Shape& qkv, const Attrs& attrs) {
  const std::int64_t heads = attrs.integer("heads", 1);
  const std::int64_t kv_heads = attrs.integer("kv_heads", heads);
  return {qkv[0], qkv[1], heads, kv_heads, qkv[2] / (heads + 2 * kv_heads)};
}

/// qkv [B, T, (H + 2 G) D] with G = kv_heads; returns its sizes.
Sizes expect_packed(std::string_view op, const TensorType& qkv, const Attrs& attrs) {
  expect_float(op, "qkv", qkv);
  expect_rank(op, "qkv", qkv, "[B, T, (heads + 2 * kv_heads) * head_size]");
  const std::int64_t heads = attrs.integer("heads", 1);
  const std::int64_t kv_heads = attrs.integer("kv_heads", heads);
  expect_number(op, "heads", static_cast<double>(heads), heads >= 1, "heads >= 1");
  if (kv_heads < 1 || heads % kv_heads != 0) {
    rule_broken(op, cat("heads is ", heads, ", kv_heads is ", kv_heads,
                        "; want kv_heads >= 1 that divides heads"));
  }
  const std::int64_t parts = heads + 2 * kv_heads;
  if (qkv.shape[2] == 0 || qkv.shape[2] % parts != 0) {
    rule_broken(op, cat("qkv is ", qkv.text(), " for ", heads, " heads of queries and ", kv_heads,
                        " of keys and values; want a last size that ", parts, " divides"));
  }
  const Sizes sizes = sizes_of(qkv.shape, attrs);
  if (sizes.head_size > kMaxHeadSize) {
    rule_broken(op, cat("a head has ", sizes.head_size, " numbers; want at most ", kMaxHeadSize));
  }
  const double rate = attrs.number("rate");
  expect_number(op, "rate", rate, rate >= 0 && rate < 1, "0 <= rate < 1");
  if (rate > 0 && sizes.heads * sizes.length > kMaxDraws / (sizes.length + 4)) {
    rule_broken(op, cat("dropout of ", sizes.heads, " heads of ", sizes.length, " x ", sizes.length,
                        " probabilities; want at most 2^34"));
  }
  return sizes;
}

void expect_key_mask(std::string_view op, const TensorType& mask, const TensorType& qkv) {
  const TensorType wanted{{qkv.shape[0], qkv.shape[1]}, qkv.dtype};
  if (mask != wanted) {
    rule_broken(op,
                cat("qkv is ", qkv.text(), ", mask is ", mask.text(), "; want ", wanted.text()));
  }
}

TypeList infer_attention(Types inputs, const Attrs& attrs) {
  DLT_CHECK(inputs.size() == 1 || inputs.size() == 2, cat("attention: ", inputs.size()));
  const Sizes s = expect_packed("attention", inputs[0], attrs);
  if (inputs.size() == 2) expect_key_mask("attention", inputs[1], inputs[0]);
  return {{{s.batch, s.length, s.heads * s.head_size}, inputs[0].dtype},
          {{s.batch, s.heads, s.length}, inputs[0].dtype}};
}

TypeList infer_attention_grad(Types inputs, const Attrs& attrs) {
  DLT_CHECK(inputs.size() == 4 || inputs.size() == 5, cat("attention_grad: ", inputs.size()));
  const Sizes s = expect_packed("attention_grad", inputs[0], attrs);
  const TensorType y{{s.batch, s.length, s.heads * s.head_size}, inputs[0].dtype};
  expect_same("attention_grad", "attention's output", y, "y", inputs[1]);
  expect_same("attention_grad", "log-sum-exp", {{s.batch, s.heads, s.length}, y.dtype}, "lse",
              inputs[2]);
  expect_same("attention_grad", "y", y, "dy", inputs[3]);
  if (inputs.size() == 5) expect_key_mask("attention_grad", inputs[4], inputs[0]);
  return {inputs[0]};
}

/// One head of one sample. Its rows lie width() apart.
template <typename T>
struct Head {
  const Sizes s;
  const T *q, *k, *v;
  const T* mask;  // of the sample, or null
  bool causal;
  double scale, rate;
  rng::Key key;
  std::int64_t first_draw;

  Head(const KernelArgs& args, const Attrs& attrs, const T* mask_input, std::int64_t b,
       std::int64_t h)
      : s(sizes_of(args.inputs[0].type.shape, attrs)),
        q(args.inputs[0].as<const T>() + b * s.length * s.width() + h * s.head_size),
        k(q + (s.heads - h + h / s.group()) * s.head_size),
        v(k + s.kv_heads * s.head_size),
        mask(mask_input == nullptr ? nullptr : mask_input + b * s.length),
        causal(attrs.integer("causal") != 0),
        scale(1.0 / std::sqrt(static_cast<double>(s.head_size))),
        rate(attrs.number("rate")),
        first_draw(h * s.length * s.row_draws()) {
    if (rate == 0.0) return;
    DLT_CHECK(static_cast<std::int64_t>(args.run.sample_ids.size()) >= s.batch,
              cat("attention: ", args.run.sample_ids.size(), " sample ids, ", s.batch, " samples"));
    const std::int64_t sample = args.run.sample_ids[static_cast<std::size_t>(b)];
    key = {args.run.seed, static_cast<std::uint64_t>(attrs.integer("op")), args.run.epoch,
           static_cast<std::uint64_t>(sample)};
  }

  [[nodiscard]] bool sees(std::int64_t i, std::int64_t j) const {
    return (!causal || j <= i) && (mask == nullptr || mask[j] != T{0});
  }
  /// q_i · k_j / sqrt(D)
  [[nodiscard]] double score(std::int64_t i, std::int64_t j) const {
    return scale * dot(q + i * s.width(), k + j * s.width());
  }
  [[nodiscard]] double dot(const T* a, const T* b) const {
    double sum = 0;
    for (std::int64_t d = 0; d < s.head_size; ++d) {
      sum += static_cast<double>(a[d]) * static_cast<double>(b[d]);
    }
    return sum;
  }
  /// What dropout multiplies probability (i, j) by. source  counter RNG: element
  /// (head · T + i) · row_draws + j of the sample's stream
  [[nodiscard]] double factor(std::int64_t i, std::int64_t j) const {
    if (rate == 0.0) return 1.0;
    const auto draw = static_cast<std::uint64_t>(first_draw + i * s.row_draws() + j);
    return static_cast<double>(rng::uniform(key, draw)) >= rate ? 1.0 / (1.0 - rate) : 0.0;
  }
};

template <typename T>
void attend_row(const Head<T>& head, std::int64_t i, T* y, T* lse) {
  double largest = -std::numeric_limits<double>::infinity(), total = 0;
  for (std::int64_t j = 0; j < head.s.length; ++j) {
    if (head.sees(i, j)) largest = std::max(largest, head.score(i, j));
  }
  std::array<double, kMaxHeadSize> sums{};
  for (std::int64_t j = 0; j < head.s.length; ++j) {
    if (!head.sees(i, j)) continue;
    const double p = std::exp(head.score(i, j) - largest);
    total += p;
    const double weight = p * head.factor(i, j);
    for (std::int64_t d = 0; d < head.s.head_size; ++d) {
      sums[static_cast<std::size_t>(d)] +=
          weight * static_cast<double>(head.v[j * head.s.width() + d]);
    }
  }
  for (std::int64_t d = 0; d < head.s.head_size; ++d) {
    y[d] = total == 0 ? T{0} : static_cast<T>(sums[static_cast<std::size_t>(d)] / total);
  }
  *lse = static_cast<T>(total == 0 ? largest : largest + std::log(total));
}

template <typename T>
void attention_host(const KernelArgs& args, const Attrs& attrs) {
  const Sizes s = sizes_of(args.inputs[0].type.shape, attrs);
  const T* mask = args.inputs.size() > 1 ? args.inputs[1].as<const T>() : nullptr;
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const Head<T> head(args, attrs, mask, b, h);
      for (std::int64_t i = 0; i < s.length; ++i) {
        attend_row(head, i,
                   args.outputs[0].as<T>() + ((b * s.length + i) * s.heads + h) * s.head_size,
                   args.outputs[1].as<T>() + (b * s.heads + h) * s.length + i);
      }
    }
  }
}

/// What the derivative needs of one head beside its inputs.
template <typename T>
struct HeadGrad {
  Head<T> head;
  const T *y, *dy;  // rows lie heads * head_size apart
  const T* lse;

  HeadGrad(const KernelArgs& args, const Attrs& attrs, std::int64_t b, std::int64_t h)
      : head(args, attrs, args.inputs.size() > 4 ? args.inputs[4].as<const T>() : nullptr, b, h),
        y(args.inputs[1].as<const T>() + at(b, h)),
        dy(args.inputs[3].as<const T>() + at(b, h)),
        lse(args.inputs[2].as<const T>() + (b * head.s.heads + h) * head.s.length) {}

  [[nodiscard]] std::int64_t at(std::int64_t b, std::int64_t h) const {
    return (b * head.s.length * head.s.heads + h) * head.s.head_size;
  }
  [[nodiscard]] std::int64_t row(std::int64_t i) const {
    return i * head.s.heads * head.s.head_size;
  }
  [[nodiscard]] double probability(std::int64_t i, std::int64_t j) const {
    return std::exp(head.score(i, j) - static_cast<double>(lse[i]));
  }
  /// d loss / d score(i, j)
  [[nodiscard]] double score_grad(std::int64_t i, std::int64_t j) const {
    const double dp = head.factor(i, j) * head.dot(dy + row(i), head.v + j * head.s.width());
    return probability(i, j) * (dp - head.dot(dy + row(i), y + row(i)));
  }
};

using Sums = std::array<double, kMaxHeadSize>;

template <typename T>
void add_weighted(Sums& sums, double weight, const T* row, std::int64_t n) {
  for (std::int64_t d = 0; d < n; ++d) {
    sums[static_cast<std::size_t>(d)] += weight * static_cast<double>(row[d]);
  }
}

template <typename T>
void put_row(const Sums& sums, double factor, T* row, std::int64_t n) {
  for (std::int64_t d = 0; d < n; ++d) {
    row[d] = static_cast<T>(factor * sums[static_cast<std::size_t>(d)]);
  }
}

template <typename T>
void attention_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const Sizes s = sizes_of(args.inputs[0].type.shape, attrs);
  const std::int64_t n = s.head_size, width = s.width();
  const double scale = 1.0 / std::sqrt(static_cast<double>(n));
  for (std::int64_t b = 0; b < s.batch; ++b) {
    T* out = args.outputs[0].as<T>() + b * s.length * width;
    for (std::int64_t h = 0; h < s.heads; ++h) {
      const HeadGrad<T> grad(args, attrs, b, h);
      for (std::int64_t i = 0; i < s.length; ++i) {
        Sums dq{};
        for (std::int64_t j = 0; j < s.length; ++j) {
          if (grad.head.sees(i, j))
            add_weighted(dq, grad.score_grad(i, j), grad.head.k + j * width, n);
        }
        put_row(dq, scale, out + i * width + h * n, n);
      }
    }
    for (std::int64_t group = 0; group < s.kv_heads; ++group) {
      for (std::int64_t j = 0; j < s.length; ++j) {
        Sums dk{}, dv{};
        for (std::int64_t h = group * s.group(); h < (group + 1) * s.group(); ++h) {
          const HeadGrad<T> grad(args, attrs, b, h);
          for (std::int64_t i = 0; i < s.length; ++i) {
            if (!grad.head.sees(i, j)) continue;
            add_weighted(dk, grad.score_grad(i, j), grad.head.q + i * width, n);
            add_weighted(dv, grad.probability(i, j) * grad.head.factor(i, j), grad.dy + grad.row(i),
                         n);
          }
        }
        put_row(dk, scale, out + j * width + (s.heads + group) * n, n);
        put_row(dv, 1.0, out + j * width + (s.heads + s.kv_heads + group) * n, n);
      }
    }
  }
}

std::vector<ValueId> attention_vjp(autodiff::Graph& graph, const autodiff::Node& node,
                                   std::span<const ValueId> grads) {
  DLT_CHECK(grads[0].valid() && !grads[1].valid(), "attention: lse has no derivative");
  std::vector<ValueId> inputs{node.inputs[0], node.outputs[0], node.outputs[1], grads[0]};
  const bool masked = node.inputs.size() > 1;
  if (masked) inputs.push_back(node.inputs[1]);
  std::vector<ValueId> result{graph.add_one("attention_grad", inputs, Attrs(node.attrs))};
  if (masked) result.emplace_back();
  return result;
}

/// Multiplications and additions of one product of all heads; what a causal mask hides is not
/// counted.
std::int64_t product_flops(const Shape& qkv, const Attrs& attrs) {
  const Sizes s = sizes_of(qkv, attrs);
  const bool causal = attrs.integer("causal") != 0;
  const std::int64_t pairs = causal ? s.length * (s.length + 1) / 2 : s.length * s.length;
  return 2 * s.batch * s.heads * pairs * s.head_size;
}

std::int64_t attention_flops(Types inputs, Types, const Attrs& attrs) {
  return 2 * product_flops(inputs[0].shape, attrs);
}

/// Without the scores that are computed a second time.
std::int64_t attention_grad_flops(Types inputs, Types, const Attrs& attrs) {
  return 4 * product_flops(inputs[0].shape, attrs);
}

}  // namespace

autodiff::OpDef make_attention() {
  return {.name = "attention",
          .infer = infer_attention,
          .host = host_kernel<attention_host<float>, attention_host<double>>,
          .vjp = attention_vjp,
          .flops = attention_flops,
          .random = true};
}

autodiff::OpDef make_attention_grad() {
  return {.name = "attention_grad",
          .infer = infer_attention_grad,
          .host = host_kernel<attention_grad_host<float>, attention_grad_host<double>>,
          .flops = attention_grad_flops,
          .random = true};
}

}  // namespace dlt::ops
