// SPDX-License-Identifier: Apache-2.0
#include "tensor/kernel.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace dlt::tensor {
namespace {

TEST(Attrs, MissingNamesGiveTheFallback) {
  const Attrs attrs;
  EXPECT_EQ(attrs.integer("n", 4), 4);
  EXPECT_EQ(attrs.number("rate", 0.5), 0.5);
  EXPECT_EQ(attrs.word("activation", "none"), "none");
  EXPECT_TRUE(attrs.integers("shape").empty());
}

TEST(Attrs, HoldWhatWasSet) {
  Attrs attrs{{"n", std::int64_t{7}}, {"rate", 0.25}};
  attrs.set("activation", std::string("relu"));
  attrs.set("shape", std::vector<std::int64_t>{2, 3});
  EXPECT_EQ(attrs.integer("n"), 7);
  EXPECT_EQ(attrs.number("rate"), 0.25);
  EXPECT_EQ(attrs.number("n"), 7.0);
  EXPECT_EQ(attrs.word("activation"), "relu");
  EXPECT_EQ(attrs.integers("shape"), (std::vector<std::int64_t>{2, 3}));
}

TEST(Attrs, AnotherTypeIsABug) {
  const Attrs attrs{{"rate", 0.25}};
  EXPECT_THROW((void)attrs.integer("rate"), Error);
  EXPECT_THROW((void)attrs.word("rate"), Error);
}

TEST(FunctionKernel, RunsTheFunctionWithItsOwnAttributes) {
  std::unique_ptr<Kernel> kernel;
  {
    const Attrs attrs{{"factor", 3.0}};
    kernel = make_function_kernel(
        [](const KernelArgs& args, const Attrs& a) {
          args.outputs[0].as<double>()[0] = args.inputs[0].as<double>()[0] * a.number("factor");
        },
        attrs);
  }
  double x = 2.0, y = 0.0;
  const View in{&x, {{1}, DType::f64}}, out{&y, {{1}, DType::f64}};
  kernel->run({{&in, 1}, {&out, 1}, nullptr, RunContext{}});
  EXPECT_EQ(y, 6.0);
  EXPECT_EQ(kernel->scratch_bytes(), 0);
}

}  // namespace
}  // namespace dlt::tensor
