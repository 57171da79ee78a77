// SPDX-License-Identifier: Apache-2.0
// Chains of element-wise ops, one by one and as one fused_pointwise, on one core:
// taskset -c 1 build/release/bench/bench_chains
// MB: what is read and written in a run, each operand of each kernel once.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/rng.h"
#include "tensor/backend.h"
#include "tensor/pointwise_program.h"

namespace {

using dlt::tensor::PointwiseProgram;
using dlt::tensor::PointwiseStep;
using dlt::tensor::Storage;
using dlt::tensor::TensorType;
using dlt::tensor::View;

struct Chain {
  const char* name;
  const char* text;
};
constexpr Chain kChains[] = {
    {"gate", "inputs 2; silu %0; mul %2 %1; outputs %3"},
    // The silu once more, in place of reading it.
    {"gate_grad", "inputs 3; mul %0 %1; silu %2; mul %0 %4; silu_grad %2 %3; outputs %5 %6"},
    // As it is without fusion: the silu of the forward pass is there.
    {"gate_grad_kept", "inputs 4; mul %0 %1; mul %0 %3; silu_grad %2 %4; outputs %5 %6"},
    {"dropout_add", "inputs 2; dropout %0 rate=0.1 op=7; add %1 %2; outputs %3"},
    {"add_relu", "inputs 2; add %0 %1; relu %2; outputs %3"},
};

/// Rows of a network of 12 to 1024 samples of the longest kind; small enough for the caches or not.
TensorType size_of(const benchmark::State& state) {
  return {dlt::tensor::Shape{state.range(0), 1024}, dlt::DType::f32};
}

struct Buffer {
  Storage memory;
  View view;
};

Buffer buffer(const TensorType& type) {
  Buffer made{Storage::allocate(type.bytes()), {}};
  made.view = {made.memory.data(), type};
  for (std::int64_t i = 0; i < type.shape.numel(); ++i) {
    made.view.as<float>()[i] = dlt::rng::to_unit(static_cast<std::uint32_t>(i) * 2654435761u);
  }
  return made;
}

/// One kernel and its operands.
struct Call {
  std::unique_ptr<dlt::tensor::Kernel> kernel;
  std::vector<View> inputs, outputs;
};

Call call_of(const dlt::tensor::Backend& backend, const std::string& op,
             const dlt::tensor::Attrs& attrs, std::vector<View> inputs, std::vector<View> outputs) {
  std::vector<TensorType> in, out;
  for (const View& view : inputs) in.push_back(view.type);
  for (const View& view : outputs) out.push_back(view.type);
  return {backend.find(op)({.inputs = in, .outputs = out, .attrs = attrs}), std::move(inputs),
          std::move(outputs)};
}

void run_chain(benchmark::State& state, const Chain& chain, bool fused) {
  const auto backend = dlt::tensor::make_cpu_backend();
  const PointwiseProgram program = PointwiseProgram::parse(chain.text);
  const TensorType type = size_of(state);
  std::vector<Buffer> registers;
  for (int i = 0; i < program.num_registers(); ++i) registers.push_back(buffer(type));
  const auto views = [&](const std::vector<int>& indices) {
    std::vector<View> found;
    for (const int index : indices) {
      found.push_back(registers[static_cast<std::size_t>(index)].view);
    }
    return found;
  };
  std::vector<Call> calls;
  if (fused) {
    std::vector<int> inputs;
    for (int i = 0; i < program.num_inputs; ++i) inputs.push_back(i);
    calls.push_back(call_of(*backend, "fused_pointwise", {{"program", program.text()}},
                            views(inputs), views(program.outputs)));
  } else {
    int made = program.num_inputs;
    for (const PointwiseStep& step : program.steps) {
      calls.push_back(call_of(*backend, step.op, step.attrs, views(step.inputs), views({made++})));
    }
  }
  std::int64_t scratch_bytes = 0, bytes = 0;
  for (const Call& call : calls) {
    scratch_bytes = std::max(scratch_bytes, call.kernel->scratch_bytes());
    bytes += static_cast<std::int64_t>(call.inputs.size() + call.outputs.size()) * type.bytes();
  }
  const Storage scratch = Storage::allocate(scratch_bytes);
  const std::vector<std::int64_t> ids(static_cast<std::size_t>(type.shape[0]), 17);
  dlt::tensor::RunContext context;
  context.sample_ids = ids;
  for (auto _ : state) {
    for (const Call& call : calls) {
      call.kernel->run({.inputs = call.inputs,
                        .outputs = call.outputs,
                        .scratch = scratch.data(),
                        .run = context});
    }
    benchmark::ClobberMemory();
  }
  state.counters["MB"] = static_cast<double>(bytes) / 1e6;
}

}  // namespace

int main(int argc, char** argv) {
  for (const Chain& chain : kChains) {
    for (const bool fused : {false, true}) {
      const std::string name = std::string(chain.name) + (fused ? "/fused" : "/one_by_one");
      benchmark::RegisterBenchmark(
          name.c_str(),
          [&chain, fused](benchmark::State& state) { run_chain(state, chain, fused); })
          ->Arg(48)
          ->Arg(768)
          ->Arg(8192);
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
