// SPDX-License-Identifier: Apache-2.0
// group_norm, group_norm_grad: the channels of one sample in groups. source  Wu & He 2018,
// arXiv:1803.08494
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "base/error.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/norm_rules.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;

void expect_groups(std::string_view op, const tensor::TensorType& x, std::int64_t groups) {
  expect_float(op, "x", x);
  if (x.shape.rank() < 2 || x.shape.numel() == 0) {
    rule_broken(op, cat("x is ", x.text(), "; want [B, ..., C] with no size 0"));
  }
  if (groups < 1 || x.shape.last() % groups != 0) {
    rule_broken(op, cat("x is ", x.text(), ", groups is ", groups,
                        "; want a number that divides the last size"));
  }
}

TypeList infer_group_norm(Types inputs, const Attrs& attrs) {
  expect_inputs("group_norm", inputs, 3);
  const tensor::TensorType& x = inputs[0];
  const std::int64_t groups = attrs.integer("groups", 1);
  expect_groups("group_norm", x, groups);
  expect_vector("group_norm", "gamma", inputs[1], x.shape.last(), x.dtype);
  expect_vector("group_norm", "beta", inputs[2], x.shape.last(), x.dtype);
  check_eps("group_norm", attrs);
  const tensor::TensorType moments{{x.shape[0], groups}, x.dtype};
  return {x, moments, moments};
}

/// x as [B, rows, groups, width].
struct Groups {
  std::int64_t batch, rows, groups, width;
  Groups(const tensor::Shape& shape, const Attrs& attrs)
      : batch(shape[0]),
        rows(shape.rows() / shape[0]),
        groups(attrs.integer("groups", 1)),
        width(shape.last() / groups) {}
  [[nodiscard]] double size() const { return static_cast<double>(rows * width); }
  /// f(element, channel) over group g of sample b.
  template <typename F>
  void each(std::int64_t b, std::int64_t g, F f) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = 0; j < width; ++j) {
        const std::int64_t c = g * width + j;
        f((b * rows + r) * groups * width + c, c);
      }
    }
  }
};

template <typename T>
void group_norm_host(const KernelArgs& args, const Attrs& attrs) {
  const Groups dims(args.inputs[0].type.shape, attrs);
  const auto at = [&](std::size_t input, std::int64_t i) {
    return static_cast<double>(args.inputs[input].as<const T>()[i]);
  };
  for (std::int64_t k = 0; k < dims.batch * dims.groups; ++k) {
    const std::int64_t b = k / dims.groups, g = k % dims.groups;
    double sum = 0, squares = 0;
    dims.each(b, g, [&](std::int64_t i, std::int64_t) { sum += at(0, i); });
    const double mean = sum / dims.size();
    dims.each(b, g, [&](std::int64_t i, std::int64_t) {
      squares += (at(0, i) - mean) * (at(0, i) - mean);
    });
    const double inv_std = 1.0 / std::sqrt(squares / dims.size() + eps_of(attrs));
    dims.each(b, g, [&](std::int64_t i, std::int64_t c) {
      args.outputs[0].as<T>()[i] =
          static_cast<T>((at(0, i) - mean) * inv_std * at(1, c) + at(2, c));
    });
    args.outputs[1].as<T>()[k] = static_cast<T>(mean);
    args.outputs[2].as<T>()[k] = static_cast<T>(inv_std);
  }
}

std::vector<ValueId> group_norm_vjp(Graph& graph, const Node& node,
                                    std::span<const ValueId> grads) {
  DLT_CHECK(grads[0].valid() && !grads[1].valid() && !grads[2].valid(),
            "group_norm: no derivative by its statistics");
  return graph.add("group_norm_grad",
                   {node.inputs[0], grads[0], node.inputs[1], node.outputs[1], node.outputs[2]},
                   Attrs(node.attrs));
}

TypeList infer_group_norm_grad(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "group_norm_grad";
  expect_inputs(kOp, inputs, 5);
  const tensor::TensorType& x = inputs[0];
  const std::int64_t groups = attrs.integer("groups", 1);
  expect_groups(kOp, x, groups);
  expect_same(kOp, "x", x, "dy", inputs[1]);
  expect_vector(kOp, "gamma", inputs[2], x.shape.last(), x.dtype);
  expect_same(kOp, "mean", inputs[3], "inv_std", inputs[4]);
  const tensor::TensorType moments{{x.shape[0], groups}, x.dtype};
  if (inputs[3] != moments) {
    rule_broken(kOp, cat("mean is ", inputs[3].text(), "; want ", moments.text()));
  }
  return {x, inputs[2], inputs[2]};
}

/// dx = inv_std (g - mean(g) - x̂ mean(g x̂)) with g = gamma dy, means over the group
template <typename T>
void group_norm_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const Groups dims(args.inputs[0].type.shape, attrs);
  const auto at = [&](std::size_t input, std::int64_t i) {
    return static_cast<double>(args.inputs[input].as<const T>()[i]);
  };
  const std::int64_t channels = dims.groups * dims.width;
  const auto normal = [&](std::int64_t k, std::int64_t i) {
    return (at(0, i) - at(3, k)) * at(4, k);
  };
  for (std::int64_t c = 0; c < channels; ++c) {
    double dgamma = 0, dbeta = 0;
    for (std::int64_t row = 0; row < dims.batch * dims.rows; ++row) {
      const std::int64_t i = row * channels + c;
      dgamma += at(1, i) * normal(row / dims.rows * dims.groups + c / dims.width, i);
      dbeta += at(1, i);
    }
    args.outputs[1].as<T>()[c] = static_cast<T>(dgamma);
    args.outputs[2].as<T>()[c] = static_cast<T>(dbeta);
  }
  for (std::int64_t k = 0; k < dims.batch * dims.groups; ++k) {
    double sum = 0, product = 0;
    dims.each(k / dims.groups, k % dims.groups, [&](std::int64_t i, std::int64_t c) {
      sum += at(2, c) * at(1, i);
      product += at(2, c) * at(1, i) * normal(k, i);
    });
    dims.each(k / dims.groups, k % dims.groups, [&](std::int64_t i, std::int64_t c) {
      const double g =
          at(2, c) * at(1, i) - sum / dims.size() - normal(k, i) * product / dims.size();
      args.outputs[0].as<T>()[i] = static_cast<T>(at(4, k) * g);
    });
  }
}

}  // namespace

autodiff::OpDef make_group_norm() {
  return {.name = "group_norm",
          .infer = infer_group_norm,
          .host = host_kernel<group_norm_host<float>, group_norm_host<double>>,
          .vjp = group_norm_vjp};
}

autodiff::OpDef make_group_norm_grad() {
  return {.name = "group_norm_grad",
          .infer = infer_group_norm_grad,
          .host = host_kernel<group_norm_grad_host<float>, group_norm_grad_host<double>>,
          .in_place = true};
}

}  // namespace dlt::ops
