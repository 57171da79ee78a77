// SPDX-License-Identifier: Apache-2.0
// Counts the allocations of the whole process: a run makes none.
#include <gtest/gtest.h>

#include "autodiff/backward.h"
#include "autodiff/executor.h"
#include "autodiff/graphs.h"
#include "autodiff/passes.h"
#include "ops/ops.h"
#include "support/allocation_count.h"
#include "support/host_backend.h"

namespace dlt::autodiff {
namespace {

class CountingSink final : public GradientSink {
 public:
  void gradients_final(std::int64_t prefix) override { last = prefix; }
  std::int64_t last = 0;
};

TEST(Allocation, TheCounterCounts) {
  const long before = test::num_allocations();
  void* memory = ::operator new(1);  // a call that no compiler may leave out
  EXPECT_EQ(test::num_allocations() - before, 1);
  ::operator delete(memory);
}

TEST(Allocation, ARunAllocatesNothing) {
  const OpTable ops = ops::make_op_table();
  support::HostBackend backend;
  for (const bool fuse : {false, true}) {
    Case c = mlp_case(ops, {4, 8, 6, 3}, 5);
    if (fuse) (void)(fuse_losses(c.graph) + fuse_bias_activation(c.graph));
    append_backward(c.graph, c.loss, c.weight);
    const Program program(c.graph, backend);
    const tensor::Tensor params = flat_params(c, program.layout());
    const tensor::Tensor gradients({program.layout().total}, DType::f64);
    const tensor::Tensor others({program.layout().total}, DType::f64);
    Executor executor(program, backend, reinterpret_cast<const float*>(params.bytes()));
    CountingSink sink;
    const tensor::RunContext& context = run_context();
    const void* input = c.bound.at(c.graph.inputs()[0]).bytes();
    bind_inputs(executor, c);
    const long before = test::num_allocations();
    for (int i = 0; i < 5; ++i) {
      executor.bind_input("input", input);
      const tensor::Tensor& buffer = i % 2 == 0 ? gradients : others;
      executor.bind_gradients(reinterpret_cast<float*>(buffer.bytes()));
      executor.run(context, &sink);
      (void)executor.output("loss");
    }
    EXPECT_EQ(test::num_allocations() - before, 0);
    EXPECT_EQ(sink.last, program.layout().total);
  }
}

}  // namespace
}  // namespace dlt::autodiff
