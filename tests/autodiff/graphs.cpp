// SPDX-License-Identifier: Apache-2.0
#include "autodiff/graphs.h"

#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "base/rng.h"
#include "base/text.h"

namespace dlt::autodiff {
namespace {

using tensor::Attrs;
using Dims = std::vector<std::int64_t>;

const std::int64_t kSampleIds[] = {9, 2, -1, 14, 7, 100, 3, 5};

/// Builds one random graph: a pool of values from which each new op takes its operands.
class Builder {
 public:
  Builder(const OpTable& ops, std::uint64_t seed) : case_(ops), seed_(seed) {
    batch_ = 1 + pick(4);
    case_.weight = case_.add_input("weight", {{batch_}, DType::f64}, seed);
    const std::int64_t num_inputs = 1 + pick(2);
    for (std::int64_t i = 0; i < num_inputs; ++i) {
      pool_.push_back(
          case_.add_input(cat("x", i), {{batch_, 1 + pick(5)}, DType::f64}, next_seed()));
    }
    if (pick(3) == 0) pool_.push_back(param({batch_, 1 + pick(5)}));
  }

  Case build() {
    const std::int64_t num_ops = 3 + pick(23);
    for (std::int64_t i = 0; i < num_ops; ++i) add_op();
    const std::int64_t num_terms = 1 + pick(3);
    for (std::int64_t i = 0; i < num_terms; ++i) {
      const ValueId term = add("sum_rows", {any()});
      case_.loss = case_.loss.valid() ? add("add", {case_.loss, term}) : term;
    }
    case_.graph.output("loss", case_.loss);
    for (std::int64_t i = pick(3); i > 0; --i) case_.graph.output(cat("extra", i), any());
    return std::move(case_);
  }

 private:
  std::int64_t pick(std::int64_t count) {
    const auto word = rng::block({seed_, 1, 0, 0}, counter_++)[0];
    return static_cast<std::int64_t>(word % static_cast<std::uint32_t>(count));
  }
  std::uint64_t next_seed() { return rng::mix(seed_ * 1000 + counter_++); }
  ValueId any() {
    return pool_[static_cast<std::size_t>(pick(static_cast<std::int64_t>(pool_.size())))];
  }
  ValueId param(const tensor::Shape& shape) {
    return case_.add_param(cat("p", num_params_++), shape, next_seed());
  }
  ValueId add(const std::string& op, std::vector<ValueId> inputs, Attrs attrs = {}) {
    return case_.graph.add_one(op, std::move(inputs), std::move(attrs));
  }
  std::int64_t width(ValueId id) { return case_.graph.shape(id).last(); }

  void add_op() {
    const ValueId x = any();
    switch (pick(9)) {
      case 0:
        pool_.push_back(dense(x));
        return;
      case 1:
        pool_.push_back(linear(x));
        return;
      case 2:
      case 3:
        pool_.push_back(pointwise(x));
        return;
      case 4:
      case 5:
        pool_.push_back(pair(x));
        return;
      case 6:
        pool_.push_back(through_reshape(x));
        return;
      case 7:
        pool_.push_back(add(pick(2) == 0 ? "softmax" : "log_softmax", {x}));
        return;
      default:
        pool_.push_back(add("dropout", {x}, {{"rate", 0.3}, {"op", std::int64_t{77}}}));
    }
  }

  ValueId dense(ValueId x) {
    const std::int64_t n = 1 + pick(6);
    const ValueId product = add("matmul", {x, param({width(x), n})});
    return pick(2) == 0 ? product : add("bias_add", {product, param({n})});
  }

  ValueId linear(ValueId x) {
    const std::array<const char*, 4> words{"none", "relu", "tanh", "softplus"};
    const std::int64_t n = 1 + pick(6);
    return add("linear", {x, param({width(x), n}), param({n})},
               {{"activation", std::string(words[static_cast<std::size_t>(pick(4))])}});
  }

  ValueId pointwise(ValueId x) {
    const std::array<const char*, 9> ops{"relu", "tanh", "sigmoid", "softplus", "silu",
                                         "gelu", "neg",  "abs",     "copy"};
    return add(ops[static_cast<std::size_t>(pick(9))], {x});
  }

  /// With a value of the same width, which may be x itself, or a new parameter.
  ValueId pair(ValueId x) {
    std::vector<ValueId> mates;
    for (const ValueId id : pool_) {
      if (case_.graph.shape(id) == case_.graph.shape(x)) mates.push_back(id);
    }
    ValueId mate = mates[static_cast<std::size_t>(pick(static_cast<std::int64_t>(mates.size())))];
    if (pick(3) == 0) mate = param(case_.graph.shape(x));
    const std::array<const char*, 3> ops{"add", "sub", "mul"};
    const std::size_t op = static_cast<std::size_t>(pick(3));
    // tanh keeps products of products small enough for finite differences
    const ValueId y = add(ops[op], {x, mate});
    return op == 2 ? add("tanh", {y}) : y;
  }

  /// A reshape and its undoing, with an op between; sometimes the reshape is a pool value's twin.
  ValueId through_reshape(ValueId x) {
    const ValueId flat = add("reshape", {x}, {{"shape", Dims{case_.graph.shape(x).numel()}}});
    const ValueId inner = pick(2) == 0 ? flat : add("tanh", {flat});
    return add("reshape", {inner}, {{"shape", Dims{batch_, width(x)}}});
  }

  Case case_;
  std::uint64_t seed_;
  std::uint32_t counter_ = 0;
  std::int64_t batch_ = 1;
  int num_params_ = 0;
  std::vector<ValueId> pool_;
};

}  // namespace

ValueId Case::add_input(const std::string& name, tensor::TensorType type, std::uint64_t seed) {
  const ValueId id = graph.input(name, type);
  bound[id] = support::random_tensor(type, seed, 1);
  return id;
}

ValueId Case::add_param(const std::string& name, tensor::Shape shape, std::uint64_t seed) {
  const ValueId id = graph.param(name, shape, dtype);
  bound[id] = support::random_tensor({shape, dtype}, seed, 2);
  return id;
}

Case random_case(const OpTable& ops, std::uint64_t seed) { return Builder(ops, seed).build(); }

Case mlp_case(const OpTable& ops, const std::vector<std::int64_t>& sizes, std::int64_t batch,
              DType dtype) {
  Case result(ops);
  result.dtype = dtype;
  ValueId x = result.add_input("input", {{batch, sizes[0]}, dtype}, 1);
  result.weight = result.add_input("weight", {{batch}, dtype}, 2);
  const ValueId target = result.graph.input("target", {{batch}, DType::i32});
  tensor::Tensor labels({batch}, DType::i32);
  for (std::int64_t i = 0; i < batch; ++i) {
    labels.as<std::int32_t>()[static_cast<std::size_t>(i)] =
        static_cast<std::int32_t>(i % sizes.back());
  }
  result.bound[target] = labels;
  for (std::size_t i = 1; i < sizes.size(); ++i) {
    const std::string layer = cat("dense_", i);
    result.graph.set_scope(layer);
    const ValueId w = result.add_param(layer + ".weight", {sizes[i - 1], sizes[i]}, 10 + i);
    const ValueId b = result.add_param(layer + ".bias", {sizes[i]}, 20 + i);
    x = result.graph.add_one("bias_add", {result.graph.add_one("matmul", {x, w}), b});
    if (i + 1 < sizes.size()) x = result.graph.add_one("relu", {x});
  }
  result.graph.set_scope("loss");
  result.graph.output("prediction", x);
  const ValueId logp = result.graph.add_one("log_softmax", {x});
  result.loss = result.graph.add_one("nll", {logp, target});
  result.graph.output("loss", result.loss);
  return result;
}

tensor::Tensor flat_params(const Case& test_case, const tensor::FlatLayout& layout) {
  tensor::Tensor flat({layout.total}, test_case.dtype);
  const auto element_bytes = static_cast<std::int64_t>(size_bytes(test_case.dtype));
  for (const auto& [id, tensor] : test_case.bound) {
    const Value& value = test_case.graph.value(id);
    if (value.kind != ValueKind::param) continue;
    const tensor::FlatLayout::Entry* entry = layout.find(value.name);
    std::memcpy(flat.bytes() + entry->offset * element_bytes, tensor.bytes(),
                static_cast<std::size_t>(tensor.type().bytes()));
  }
  return flat;
}

void bind_inputs(Executor& executor, const Case& test_case) {
  for (const auto& [id, tensor] : test_case.bound) {
    const Value& value = test_case.graph.value(id);
    if (value.kind == ValueKind::input) executor.bind_input(value.name, tensor.bytes());
  }
}

const tensor::RunContext& run_context() {
  static const tensor::RunContext context{
      .seed = 3, .epoch = 1, .sample_ids = kSampleIds, .scalars = {}};
  return context;
}

}  // namespace dlt::autodiff
