// SPDX-License-Identifier: Apache-2.0
#include "autodiff/executor.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <thread>

#include <gtest/gtest.h>

#include "autodiff/backward.h"
#include "autodiff/graphs.h"
#include "autodiff/passes.h"
#include "base/error.h"
#include "ops/ops.h"
#include "support/host_backend.h"

namespace dlt::autodiff {
namespace {

/// A host kernel behind one that asks for scratch and scribbles over all of it.
class ScribblingKernel final : public tensor::Kernel {
 public:
  ScribblingKernel(std::unique_ptr<tensor::Kernel> inner, std::int64_t size)
      : inner_(std::move(inner)), size_(size) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override { return size_; }
  void run(const tensor::KernelArgs& args) const override {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(args.scratch) % 64, 0u);
    std::memset(args.scratch, 0xFF, static_cast<std::size_t>(size_));
    inner_->run(args);
    std::memset(args.scratch, 0xFF, static_cast<std::size_t>(size_));
  }

 private:
  std::unique_ptr<tensor::Kernel> inner_;
  std::int64_t size_;
};

std::unique_ptr<tensor::Kernel> scribbling(const char* op, const tensor::KernelSpec& spec) {
  const OpTable ops = ops::make_op_table();
  return std::make_unique<ScribblingKernel>(ops.find(op)->host(spec), 200);
}

/// Has kernels of its own for a few ops; declines bias_grad.
class ScratchBackend final : public support::HostBackend {
 public:
  [[nodiscard]] tensor::KernelFactory find(std::string_view kernel) const override {
    using tensor::KernelSpec;
    if (kernel == "matmul") return [](const KernelSpec& s) { return scribbling("matmul", s); };
    if (kernel == "add") return [](const KernelSpec& s) { return scribbling("add", s); };
    if (kernel == "tanh") return [](const KernelSpec& s) { return scribbling("tanh", s); };
    if (kernel == "bias_grad") {
      return [](const KernelSpec&) { return std::unique_ptr<tensor::Kernel>(); };
    }
    return nullptr;
  }
};

const float* as_floats(const tensor::Tensor& tensor) {
  return reinterpret_cast<const float*>(tensor.bytes());
}

void expect_same_bits(const void* got, const tensor::Tensor& want, const std::string& name) {
  const auto* numbers = static_cast<const double*>(got);
  const std::span<double> wanted = want.as<double>();
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_EQ(numbers[i], wanted[i]) << name << " element " << i;
  }
}

/// A case's program with the buffers that a training run of it needs; inputs are not bound.
struct Prepared {
  Prepared(const Case& c, tensor::Backend& backend)
      : program(c.graph, backend),
        params(flat_params(c, program.layout())),
        gradients({program.layout().total}, DType::f64),
        executor(program, backend, as_floats(params)) {
    executor.bind_gradients(reinterpret_cast<float*>(gradients.bytes()));
  }
  Program program;
  tensor::Tensor params, gradients;
  Executor executor;
};

class ExecutorTest : public ::testing::Test {
 protected:
  OpTable ops_ = ops::make_op_table();
  ScratchBackend backend_;
};

TEST_F(ExecutorTest, EqualsAnExecutorThatGivesEveryValueItsOwnMemory) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case c = random_case(ops_, seed);
    if (seed % 2 == 0) (void)fuse_bias_activation(c.graph);
    append_backward(c.graph, c.loss, c.weight);
    Prepared prepared(c, backend_);
    auto& [program, params, gradients, executor] = prepared;
    for (std::uint64_t round = 0; round < 2; ++round) {
      for (auto& [id, tensor] : c.bound) {
        const Value& value = c.graph.value(id);
        if (value.kind == ValueKind::input) {
          tensor = support::random_tensor(value.type, seed * 7 + round,
                                          static_cast<std::uint64_t>(id.index));
        }
      }
      bind_inputs(executor, c);
      executor.run(run_context());
      const support::Bindings want = support::naive_run(c.graph, c.bound, run_context());
      for (const auto& [name, id] : c.graph.outputs()) {
        expect_same_bits(executor.output(name).data, want.at(id), name);
      }
      for (const auto& [param, gradient] : c.graph.gradients()) {
        const std::string name = c.graph.value(param).name;
        expect_same_bits(gradients.as<double>().data() + program.layout().find(name)->offset,
                         want.at(gradient), name);
      }
    }
  }
}

TEST_F(ExecutorTest, OutputsKeepTheirType) {
  Case c = mlp_case(ops_, {4, 8, 3}, 5);
  const Program program(c.graph, backend_);
  Executor executor(program, backend_, as_floats(flat_params(c, program.layout())));
  EXPECT_EQ(executor.output("prediction").type.text(), "f64[5, 3]");
  try {
    (void)executor.output("predictions");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("loss, prediction"), std::string::npos);
  }
}

/// Notes how far gradients were final and what they were at that moment.
class NotingSink final : public GradientSink {
 public:
  explicit NotingSink(std::span<const double> gradients) : gradients_(gradients) {}
  void gradients_final(std::int64_t prefix) override {
    prefixes.push_back(prefix);
    snapshots.emplace_back(gradients_.begin(), gradients_.begin() + prefix);
  }
  std::vector<std::int64_t> prefixes;
  std::vector<std::vector<double>> snapshots;

 private:
  std::span<const double> gradients_;
};

TEST_F(ExecutorTest, TheSinkHearsARisingPrefixThatIsFinal) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case c = random_case(ops_, seed);
    append_backward(c.graph, c.loss, c.weight);
    const Program program(c.graph, backend_);
    if (program.layout().total == 0) continue;
    const tensor::Tensor params = flat_params(c, program.layout());
    const tensor::Tensor gradients({program.layout().total}, DType::f64);
    Executor executor(program, backend_, as_floats(params));
    executor.bind_gradients(reinterpret_cast<float*>(gradients.bytes()));
    bind_inputs(executor, c);
    NotingSink sink(gradients.as<double>());
    executor.run(run_context(), &sink);
    ASSERT_FALSE(sink.prefixes.empty());
    EXPECT_EQ(sink.prefixes.back(), program.layout().total);
    for (std::size_t i = 0; i < sink.prefixes.size(); ++i) {
      EXPECT_GT(sink.prefixes[i], i == 0 ? 0 : sink.prefixes[i - 1]);
      for (std::size_t j = 0; j < sink.snapshots[i].size(); ++j) {
        ASSERT_EQ(sink.snapshots[i][j], gradients.as<double>()[j]) << "element " << j;
      }
    }
  }
}

/// Parameters that arrive from the end of the buffer, only when they are asked for.
class LateParams final : public ParamGate {
 public:
  LateParams(std::span<const double> whole, std::span<double> arrived)
      : whole_(whole), arrived_(arrived), from_(static_cast<std::int64_t>(whole.size())) {}
  void wait_for_params(std::int64_t from) override {
    EXPECT_LT(from, from_) << "asked twice";
    from_ = from;
    const auto at = static_cast<std::size_t>(from);
    std::copy(whole_.begin() + from, whole_.end(), arrived_.subspan(at).begin());
  }
  void leave() {
    from_ = static_cast<std::int64_t>(whole_.size());
    std::fill(arrived_.begin(), arrived_.end(), std::numeric_limits<double>::quiet_NaN());
  }

 private:
  std::span<const double> whole_;
  std::span<double> arrived_;
  std::int64_t from_;
};

TEST_F(ExecutorTest, NoParameterIsReadBeforeTheGateWasAsked) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case c = random_case(ops_, seed);
    append_backward(c.graph, c.loss, c.weight);
    const Program program(c.graph, backend_);
    const tensor::Tensor params = flat_params(c, program.layout());
    const tensor::Tensor late(params.shape(), DType::f64);
    LateParams gate(params.as<double>(), late.as<double>());
    const tensor::Tensor gradients({program.layout().total}, DType::f64);
    const tensor::Tensor expected({program.layout().total}, DType::f64);
    Executor plain(program, backend_, as_floats(params));
    plain.bind_gradients(reinterpret_cast<float*>(expected.bytes()));
    Executor waiting(program, backend_, as_floats(late));
    waiting.bind_gradients(reinterpret_cast<float*>(gradients.bytes()));
    waiting.bind_gate(&gate);
    bind_inputs(plain, c);
    bind_inputs(waiting, c);
    plain.run(run_context());
    for (int round = 0; round < 2; ++round) {
      gate.leave();
      waiting.run(run_context());
      expect_same_bits(gradients.bytes(), expected, "gradients");
    }
  }
}

TEST_F(ExecutorTest, FinalPointsRiseToTheWholeWithTheFlops) {
  Case c = mlp_case(ops_, {4, 8, 3}, 5);
  append_backward(c.graph, c.loss, c.weight);
  const Program program(c.graph, backend_);
  ASSERT_FALSE(program.final_points().empty());
  Program::FinalPoint before;
  for (const Program::FinalPoint& point : program.final_points()) {
    EXPECT_GT(point.prefix, before.prefix);
    EXPECT_GT(point.flops, before.flops);
    before = point;
  }
  EXPECT_EQ(before.prefix, program.layout().total);
  EXPECT_LE(before.flops, program.flops());
}

TEST_F(ExecutorTest, NeedPointsAreWhatTheGateIsAskedFor) {
  class Asked final : public ParamGate {
   public:
    void wait_for_params(std::int64_t from) override { froms.push_back(from); }
    std::vector<std::int64_t> froms;
  };
  Case c = mlp_case(ops_, {4, 8, 3}, 5);
  append_backward(c.graph, c.loss, c.weight);
  Prepared prepared(c, backend_);
  auto& [program, params, gradients, executor] = prepared;
  bind_inputs(executor, c);
  Asked asked;
  executor.bind_gate(&asked);
  executor.run(run_context());
  std::vector<std::int64_t> froms;
  std::int64_t flops = -1;
  for (const Program::NeedPoint& point : program.need_points()) {
    EXPECT_GE(point.flops, flops);
    flops = point.flops;
    froms.push_back(point.from);
  }
  EXPECT_EQ(froms, asked.froms);
  ASSERT_FALSE(froms.empty());
  EXPECT_EQ(froms.back(), 0);
  EXPECT_LT(flops, program.flops());
}

TEST_F(ExecutorTest, TheSinkMayChangeWhatIsFinal) {
  // As a reduction does; later gradients and outputs must not notice.
  class Spoiler final : public GradientSink {
   public:
    explicit Spoiler(std::span<double> gradients) : gradients_(gradients) {}
    void gradients_final(std::int64_t prefix) override {
      kept.insert(kept.end(), gradients_.begin() + done_, gradients_.begin() + prefix);
      std::fill(gradients_.begin() + done_, gradients_.begin() + prefix, 1e30);
      done_ = prefix;
    }
    std::vector<double> kept;

   private:
    std::span<double> gradients_;
    std::int64_t done_ = 0;
  };
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case c = random_case(ops_, seed);
    append_backward(c.graph, c.loss, c.weight);
    Prepared prepared(c, backend_);
    auto& [program, params, gradients, executor] = prepared;
    bind_inputs(executor, c);
    Spoiler sink(gradients.as<double>());
    executor.run(run_context(), &sink);
    const support::Bindings want = support::naive_run(c.graph, c.bound, run_context());
    for (const auto& [param, gradient] : c.graph.gradients()) {
      const std::string name = c.graph.value(param).name;
      expect_same_bits(sink.kept.data() + program.layout().find(name)->offset, want.at(gradient),
                       name);
    }
  }
}

TEST_F(ExecutorTest, ParametersWithoutGradientGetZerosAndGapsStay) {
  Graph graph(ops_);
  const ValueId seed = graph.input("seed", {{3}, DType::f64});
  const ValueId used = graph.param("used", {3}, DType::f64);
  (void)graph.param("unused", {5}, DType::f64);
  append_backward(graph, graph.add_one("square", {used}), seed);
  const Program program(graph, backend_);
  ASSERT_EQ(program.layout().total, 32);
  const std::vector<double> params(32, 1.0), seeds(3, 1.0);
  std::vector<double> gradients(32, 7.0);
  Executor executor(program, backend_, reinterpret_cast<const float*>(params.data()));
  executor.bind_input("seed", seeds.data());
  executor.bind_gradients(reinterpret_cast<float*>(gradients.data()));
  NotingSink sink(gradients);
  executor.run(run_context(), &sink);
  for (std::size_t i = 0; i < 32; ++i) {
    const double want = i < 3 ? 2.0 : i >= 16 && i < 21 ? 0.0 : 7.0;
    EXPECT_EQ(gradients[i], want) << i;
  }
  EXPECT_EQ(sink.prefixes, std::vector<std::int64_t>{32});
}

TEST_F(ExecutorTest, EvaluationUsesTheTrainingLayout) {
  Case c = mlp_case(ops_, {4, 8, 3}, 5);
  const Graph forward = c.graph;
  append_backward(c.graph, c.loss, c.weight);
  const Program training(c.graph, backend_);
  const Program evaluation(forward, backend_, &training.layout());
  const tensor::Tensor params = flat_params(c, training.layout());
  const tensor::Tensor gradients({training.layout().total}, DType::f64);
  Executor train(training, backend_, as_floats(params));
  Executor evaluate(evaluation, backend_, as_floats(params));
  train.bind_gradients(reinterpret_cast<float*>(gradients.bytes()));
  bind_inputs(train, c);
  bind_inputs(evaluate, c);  // "weight" is not in this program: ignored
  train.run(run_context());
  evaluate.run(run_context());
  const auto* a = train.output("loss").as<const double>();
  const auto* b = evaluate.output("loss").as<const double>();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(a[i], b[i]);
}

TEST_F(ExecutorTest, MissingBindingsAreNamed) {
  Case c = mlp_case(ops_, {4, 8, 3}, 5);
  append_backward(c.graph, c.loss, c.weight);
  const Program program(c.graph, backend_);
  const tensor::Tensor params = flat_params(c, program.layout());
  Executor executor(program, backend_, as_floats(params));
  const auto complaint = [&] {
    try {
      executor.run(run_context());
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(complaint().find("input input is not bound"), std::string::npos) << complaint();
  bind_inputs(executor, c);
  EXPECT_NE(complaint().find("gradient buffer is not bound"), std::string::npos) << complaint();
  executor.bind_input("no_such_input", nullptr);
  const tensor::Tensor gradients({program.layout().total}, DType::f64);
  executor.bind_gradients(reinterpret_cast<float*>(gradients.bytes()));
  EXPECT_EQ(complaint(), "");
}

TEST_F(ExecutorTest, InputsAndParametersMayBeOutputs) {
  Graph graph(ops_);
  const ValueId x = graph.input("x", {{2, 2}, DType::f64});
  const ValueId w = graph.param("w", {4}, DType::f64);
  graph.output("x", graph.add_one("reshape", {x}, {{"shape", std::vector<std::int64_t>{4}}}));
  graph.output("w", w);
  const Program program(graph, backend_);
  const std::vector<double> params(16, 3.0), input(4, 5.0);
  Executor executor(program, backend_, reinterpret_cast<const float*>(params.data()));
  executor.bind_input("x", input.data());
  executor.run(run_context());
  EXPECT_EQ(executor.output("x").data, input.data());
  EXPECT_EQ(executor.output("w").data, params.data());
  EXPECT_EQ(program.plan().arena_bytes, 0);
}

TEST_F(ExecutorTest, ExecutorsOfOneProgramRunSideBySide) {
  Case c = mlp_case(ops_, {4, 16, 3}, 8);
  append_backward(c.graph, c.loss, c.weight);
  const Program program(c.graph, backend_);
  const tensor::Tensor params = flat_params(c, program.layout());
  std::vector<tensor::Tensor> gradients;
  for (int i = 0; i < 3; ++i)
    gradients.emplace_back(tensor::Shape{program.layout().total}, DType::f64);
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      Executor executor(program, backend_, as_floats(params));
      executor.bind_gradients(reinterpret_cast<float*>(gradients[i].bytes()));
      bind_inputs(executor, c);
      for (int run = 0; run < 50; ++run) executor.run(run_context());
    });
  }
  threads.clear();
  for (std::size_t i = 1; i < 3; ++i) {
    expect_same_bits(gradients[i].bytes(), gradients[0], "gradients");
  }
}

TEST_F(ExecutorTest, HashTellsProgramsApart) {
  const auto hash = [&](const std::vector<std::int64_t>& sizes, std::int64_t batch) {
    Case c = mlp_case(ops_, sizes, batch);
    append_backward(c.graph, c.loss, c.weight);
    return Program(c.graph, backend_).hash();
  };
  EXPECT_EQ(hash({4, 8, 3}, 5), hash({4, 8, 3}, 5));
  EXPECT_NE(hash({4, 8, 3}, 5), hash({4, 8, 3}, 6));
  EXPECT_NE(hash({4, 8, 3}, 5), hash({4, 8, 8, 3}, 5));
  const auto scaled = [&](double factor) {
    Graph graph(ops_);
    const ValueId x = graph.input("x", {{2}, DType::f32});
    graph.output("y", graph.add_one("scale", {x}, {{"factor", factor}}));
    return Program(graph, backend_).hash();
  };
  EXPECT_NE(scaled(0.1), scaled(0.1 + 1e-16));
}

TEST_F(ExecutorTest, CountsFlopsAndHostFallbacks) {
  Case c = mlp_case(ops_, {4, 8, 3}, 5);
  (void)fuse_losses(c.graph);
  (void)fuse_bias_activation(c.graph);
  append_backward(c.graph, c.loss, c.weight);
  const Program program(c.graph, backend_);
  const std::int64_t products = 2 * 5 * (4 * 8 + 8 * 3);  // of one pass over both layers
  const std::int64_t dx = 2 * 5 * 8 * 3;
  const std::int64_t elements = 5 * 8 + 5 * 3;  // bias and activation
  const std::int64_t backward = 5 * 8 + 8 + 3;  // activation_bias_grad, bias_grad
  const std::int64_t loss = 2 * 5 + 5 * 3;
  EXPECT_EQ(program.flops(), 2 * products + dx + elements + backward + loss);
  EXPECT_EQ(program.host_fallbacks(),
            (std::vector<std::string>{"activation_bias_grad", "bias_grad", "linear",
                                      "softmax_cross_entropy", "softmax_cross_entropy_grad"}));
}

TEST_F(ExecutorTest, AnOpWithoutAnyKernelIsNamedBeforeTheFirstRun) {
  Graph graph(ops_);
  graph.set_scope("act");
  const ValueId x = graph.input("x", {{2}, DType::bf16});
  graph.output("y", graph.add_one("relu", {x}));
  try {
    const Program program(graph, backend_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "act: relu: no kernel for bf16[2]");
  }
}

/// Doubles its input, a parameter, by way of a copy it keeps; counts how often that is made.
class KeepingKernel final : public tensor::Kernel {
 public:
  explicit KeepingKernel(int* num_copies) : num_copies_(num_copies) {}
  [[nodiscard]] std::int64_t kept_bytes() const override { return 3 * sizeof(double); }
  void run(const tensor::KernelArgs& args) const override {
    double own[3];
    auto* copy = args.kept != nullptr ? reinterpret_cast<double*>(args.kept) : own;
    if (args.kept == nullptr || !args.kept_valid) {
      std::memcpy(copy, args.inputs[0].data, sizeof own);
      ++*num_copies_;
    }
    for (int i = 0; i < 3; ++i) args.outputs[0].as<double>()[i] = 2 * copy[i];
  }

 private:
  int* num_copies_;
};

int num_copies = 0;  // of KeepingKernel

class KeepingBackend final : public support::HostBackend {
 public:
  [[nodiscard]] tensor::KernelFactory find(std::string_view kernel) const override {
    if (kernel != "tanh") return nullptr;
    return [](const tensor::KernelSpec& spec) -> std::unique_ptr<tensor::Kernel> {
      EXPECT_EQ(spec.params, 1u);
      return std::make_unique<KeepingKernel>(&num_copies);
    };
  }
};

TEST(ExecutorKeeps, CopiesOfParametersUntilTheyChange) {
  const OpTable ops = ops::make_op_table();
  Graph graph(ops);
  const ValueId w = graph.param("w", {3}, DType::f64);
  graph.output("y", graph.add_one("tanh", {w}));
  KeepingBackend backend;
  const Program program(std::move(graph), backend);
  EXPECT_EQ(program.kept_bytes(), 64);
  std::vector<double> params(8, 1.0);
  Executor executor(program, backend, reinterpret_cast<const float*>(params.data()));
  const auto runs = [&] {
    executor.run({});
    return executor.output("y").as<double>()[0];
  };
  num_copies = 0;
  (void)runs();
  (void)runs();
  EXPECT_EQ(num_copies, 2);  // nothing is kept unless asked for
  executor.keep_copies();
  (void)runs();
  (void)runs();
  EXPECT_EQ(num_copies, 3);
  params[0] = 5;
  executor.params_changed();
  EXPECT_EQ(runs(), 10.0);
  EXPECT_EQ(runs(), 10.0);
  EXPECT_EQ(num_copies, 4);
}

}  // namespace
}  // namespace dlt::autodiff
