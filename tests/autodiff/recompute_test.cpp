// SPDX-License-Identifier: Apache-2.0
#include "autodiff/recompute.h"

#include <cstring>

#include <gtest/gtest.h>

#include "autodiff/backward.h"
#include "autodiff/graphs.h"
#include "base/rng.h"
#include "ops/ops.h"
#include "support/host_backend.h"

namespace dlt::autodiff {
namespace {

const OpTable& table() {
  static const OpTable ops = ops::make_op_table();
  return ops;
}

struct Result {
  std::vector<double> gradients;
  std::int64_t arena_bytes = 0;
};

Result run(Case test_case, int segments) {
  append_backward(test_case.graph, test_case.loss, test_case.weight);
  (void)recompute_activations(test_case.graph, segments);
  support::HostBackend backend;
  const Program program(test_case.graph, backend);
  const tensor::Tensor params = flat_params(test_case, program.layout());
  std::vector<double> gradients(static_cast<std::size_t>(program.layout().total), 0.0);
  Executor executor(program, backend, reinterpret_cast<const float*>(params.bytes()));
  bind_inputs(executor, test_case);
  executor.bind_gradients(reinterpret_cast<float*>(gradients.data()));
  executor.run(run_context());
  std::vector<double> by_name;
  std::vector<tensor::FlatLayout::Entry> entries = program.layout().entries;
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  for (const auto& entry : entries) {
    by_name.insert(by_name.end(), gradients.begin() + entry.offset,
                   gradients.begin() + entry.offset + entry.numel);
  }
  return {by_name, program.plan().arena_bytes};
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

TEST(Recompute, GradientsKeepTheirBitsInRandomGraphs) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    const Result plain = run(random_case(table(), seed), 1);
    for (const int segments : {2, 3, 5}) {
      EXPECT_TRUE(same_bits(plain.gradients, run(random_case(table(), seed), segments).gradients))
          << segments << " segments";
    }
  }
}

TEST(Recompute, ADeepNetworkNeedsTheRootOfItsMemory) {
  const std::vector<std::int64_t> sizes(26, 16);
  const Result plain = run(mlp_case(table(), sizes, 256), 1);
  const Result five = run(mlp_case(table(), sizes, 256), 5);
  EXPECT_TRUE(same_bits(plain.gradients, five.gradients));
  EXPECT_LT(2 * five.arena_bytes, plain.arena_bytes);
}

TEST(Recompute, ForwardGraphsAndOneSegmentStayAsTheyAre) {
  Case test_case = mlp_case(table(), {4, 8, 3}, 2);
  append_backward(test_case.graph, test_case.loss, test_case.weight);
  const std::string before = test_case.graph.text();
  EXPECT_EQ(recompute_activations(test_case.graph, 1), 0);
  EXPECT_EQ(test_case.graph.text(), before);
}

}  // namespace
}  // namespace dlt::autodiff
