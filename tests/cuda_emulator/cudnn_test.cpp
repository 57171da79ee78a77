// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include <cudnn.h>

#include "cuda_emulator/test_support.h"

namespace dlt::emulator {
namespace {

using Sizes = std::vector<std::int64_t>;
constexpr auto kCudnnDone = CUDNN_STATUS_SUCCESS;

struct Described {
  explicit Described(cudnnBackendDescriptorType_t type) {
    EXPECT_EQ(cudnnBackendCreateDescriptor(type, &handle), kCudnnDone);
  }
  ~Described() { EXPECT_EQ(cudnnBackendDestroyDescriptor(handle), kCudnnDone); }
  Described(const Described&) = delete;
  Described& operator=(const Described&) = delete;
  template <typename T>
  cudnnStatus_t set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                    std::vector<T> values) {
    return cudnnBackendSetAttribute(handle, name, type, static_cast<std::int64_t>(values.size()),
                                    values.data());
  }
  template <typename T>
  void put(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, T value) {
    ASSERT_EQ(cudnnBackendSetAttribute(handle, name, type, 1, &value), kCudnnDone);
  }
  void put(cudnnBackendAttributeName_t name, const Described& child) {
    put(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, child.handle);
  }
  cudnnStatus_t finalize() { return cudnnBackendFinalize(handle); }
  cudnnBackendDescriptor_t handle = nullptr;
};
using Part = std::unique_ptr<Described>;

Part tensor(std::int64_t id, const Sizes& sizes, const Sizes& strides, bool is_virtual = false) {
  auto made = std::make_unique<Described>(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made->put(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id);
  made->put(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  made->put(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, std::int64_t{16});
  EXPECT_EQ(made->set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, sizes), kCudnnDone);
  EXPECT_EQ(made->set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, strides), kCudnnDone);
  if (is_virtual) made->put(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, true);
  EXPECT_EQ(made->finalize(), kCudnnDone);
  return made;
}
Sizes channels_last(const Sizes& s) { return {s[1] * s[2] * s[3], 1, s[3] * s[1], s[1]}; }

/// x [2, 4, 7, 6], two groups, a 3x2 kernel, stride 2 and 1, dilation 1 and 2, padding 1 and 2.
struct Shapes {
  Sizes x{2, 4, 7, 6}, w{6, 2, 3, 2}, y{2, 6, 4, 8};
  Sizes strides{2, 1}, dilations{1, 2}, before{1, 2}, after{1, 2};
};

std::int64_t count(const Sizes& s) {
  return std::accumulate(s.begin(), s.end(), std::int64_t{1}, std::multiplies<>());
}

Part movement(const Shapes& s) {
  auto conv = std::make_unique<Described>(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  conv->put(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  conv->put(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
  conv->put(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, std::int64_t{2});
  EXPECT_EQ(conv->set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, s.dilations), kCudnnDone);
  EXPECT_EQ(conv->set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, s.strides),
            kCudnnDone);
  EXPECT_EQ(conv->set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, s.before), kCudnnDone);
  EXPECT_EQ(conv->set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, s.after), kCudnnDone);
  EXPECT_EQ(conv->finalize(), kCudnnDone);
  return conv;
}

struct Direction {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t conv, x, w, y;
};
constexpr Direction kForward{
    CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y};
constexpr Direction kData{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY};
constexpr Direction kFilter{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY};

class Cudnn : public EmulatorTest {
 protected:
  void SetUp() override {
    EmulatorTest::SetUp();
    ASSERT_EQ(cudnnCreate(&handle_), kCudnnDone);
    x_ = random(count(shapes_.x));
    w_ = random(count(shapes_.w));
    y_ = random(count(shapes_.y));
  }
  void TearDown() override {
    parts_.clear();
    EXPECT_EQ(cudnnDestroy(handle_), kCudnnDone);
    EmulatorTest::TearDown();
  }
  std::vector<float> random(std::int64_t n) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& v : values) v = std::uniform_real_distribution<float>(-1, 1)(random_);
    return values;
  }
  Described& add(Part part) { return *parts_.emplace_back(std::move(part)); }
  Described& convolution(const Direction& d, bool virtual_y = false) {
    Described& x = add(tensor(1, shapes_.x, channels_last(shapes_.x)));
    Described& w = add(tensor(2, shapes_.w, channels_last(shapes_.w)));
    Described& y = add(tensor(3, shapes_.y, channels_last(shapes_.y), virtual_y));
    Described& conv = add(movement(shapes_));
    Described& operation = add(std::make_unique<Described>(d.type));
    operation.put(d.x, x);
    operation.put(d.w, w);
    operation.put(d.y, y);
    operation.put(d.conv, conv);
    EXPECT_EQ(operation.finalize(), kCudnnDone);
    return operation;
  }
  cudnnStatus_t make_graph(std::vector<cudnnBackendDescriptor_t> operations) {
    Described& graph = add(std::make_unique<Described>(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR));
    graph.put(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle_);
    EXPECT_EQ(graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                        std::move(operations)),
              kCudnnDone);
    graph_ = &graph;
    return graph.finalize();
  }
  /// The plan of the engine with that number in mode A.
  Described& make_plan(std::size_t number) {
    Described& heuristic = add(std::make_unique<Described>(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR));
    heuristic.put(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, *graph_);
    heuristic.put(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A);
    EXPECT_EQ(heuristic.finalize(), kCudnnDone);
    std::vector<cudnnBackendDescriptor_t> configs;
    for (int i = 0; i < 3; ++i) {
      configs.push_back(
          add(std::make_unique<Described>(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)).handle);
    }
    std::int64_t found = 0;
    EXPECT_EQ(cudnnBackendGetAttribute(heuristic.handle, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 3, &found, configs.data()),
              kCudnnDone);
    EXPECT_EQ(found, 3);
    Described& plan = add(std::make_unique<Described>(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR));
    plan.put(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle_);
    plan.put(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR,
             configs[number]);
    EXPECT_EQ(plan.finalize(), kCudnnDone);
    return plan;
  }
  cudnnStatus_t execute(const Described& plan, const std::vector<std::int64_t>& ids,
                        const std::vector<void*>& data) {
    Described pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    EXPECT_EQ(pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids), kCudnnDone);
    EXPECT_EQ(pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, data),
              kCudnnDone);
    pack.put(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR,
             static_cast<void*>(device_array<char>(1 << 20)));
    EXPECT_EQ(pack.finalize(), kCudnnDone);
    return cudnnBackendExecute(handle_, plan.handle, pack.handle);
  }
  /// Runs one convolution by the plain engine; the result of that id.
  std::vector<float> run(const Direction& d, std::int64_t result) {
    EXPECT_EQ(make_graph({convolution(d).handle}), kCudnnDone);
    const std::vector<void*> data{to_device(x_), to_device(w_), to_device(y_)};
    EXPECT_EQ(execute(make_plan(2), {1, 2, 3}, data), kCudnnDone);
    const std::array<std::size_t, 3> sizes{x_.size(), w_.size(), y_.size()};
    const auto at = static_cast<std::size_t>(result - 1);
    return to_host(static_cast<const float*>(data[at]), sizes[at]);
  }
  /// One element of the convolution, in double.
  [[nodiscard]] double expected(std::int64_t n, std::int64_t k, std::int64_t p,
                                std::int64_t q) const;

  Shapes shapes_;
  std::vector<float> x_, w_, y_;
  cudnnHandle_t handle_ = nullptr;
  std::vector<Part> parts_;
  Described* graph_ = nullptr;
  std::mt19937 random_{3};
};

double Cudnn::expected(std::int64_t n, std::int64_t k, std::int64_t p, std::int64_t q) const {
  const Shapes& s = shapes_;
  double sum = 0;
  const std::int64_t group = k / (s.w[0] / (s.x[1] / s.w[1]));
  for (std::int64_t c = 0; c < s.w[1]; ++c) {
    for (std::int64_t r = 0; r < s.w[2]; ++r) {
      for (std::int64_t t = 0; t < s.w[3]; ++t) {
        const std::int64_t h = p * s.strides[0] - s.before[0] + r * s.dilations[0];
        const std::int64_t v = q * s.strides[1] - s.before[1] + t * s.dilations[1];
        if (h < 0 || h >= s.x[2] || v < 0 || v >= s.x[3]) continue;
        const std::int64_t x_at = ((n * s.x[2] + h) * s.x[3] + v) * s.x[1] + group * s.w[1] + c;
        const std::int64_t w_at = ((k * s.w[2] + r) * s.w[3] + t) * s.w[1] + c;
        sum += static_cast<double>(x_[static_cast<std::size_t>(x_at)]) *
               static_cast<double>(w_[static_cast<std::size_t>(w_at)]);
      }
    }
  }
  return sum;
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

TEST_F(Cudnn, ConvolvesWithGroupsStridesDilationAndPadding) {
  const std::vector<float> y = run(kForward, 3);
  for (std::int64_t k = 0; k < 6; ++k) {
    for (std::int64_t q = 0; q < 8; ++q) {
      const auto at = static_cast<std::size_t>(((1 * 4 + 2) * 8 + q) * 6 + k);
      EXPECT_NEAR(static_cast<double>(y[at]), expected(1, k, 2, q), 1e-5);
    }
  }
}

TEST_F(Cudnn, TheGradientsAreTheTransposeOfTheConvolution) {
  const double forward = dot(run(kForward, 3), y_);
  EXPECT_NEAR(dot(run(kData, 1), x_), forward, 1e-3);
  EXPECT_NEAR(dot(run(kFilter, 2), w_), forward, 1e-3);
}

TEST_F(Cudnn, ABiasAndReluFollowInOneGraph) {
  Described& conv = convolution(kForward, true);
  Described& y = add(tensor(3, shapes_.y, channels_last(shapes_.y), true));
  Described& bias = add(tensor(4, {1, 6, 1, 1}, {6, 1, 6, 6}));
  Described& shifted = add(tensor(5, shapes_.y, channels_last(shapes_.y), true));
  Described& out = add(tensor(6, shapes_.y, channels_last(shapes_.y)));
  const auto pointwise = [&](cudnnPointwiseMode_t mode, Described& from, Described* second,
                             Described& to) {
    Described& how = add(std::make_unique<Described>(CUDNN_BACKEND_POINTWISE_DESCRIPTOR));
    how.put(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode);
    how.put(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    EXPECT_EQ(how.finalize(), kCudnnDone);
    Described& operation =
        add(std::make_unique<Described>(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR));
    operation.put(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    operation.put(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, from);
    if (second != nullptr) operation.put(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *second);
    operation.put(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, to);
    EXPECT_EQ(operation.finalize(), kCudnnDone);
    return operation.handle;
  };
  const auto add_bias = pointwise(CUDNN_POINTWISE_ADD, y, &bias, shifted);
  const auto relu = pointwise(CUDNN_POINTWISE_RELU_FWD, shifted, nullptr, out);
  ASSERT_EQ(make_graph({conv.handle, add_bias, relu}), kCudnnDone);
  const std::vector<float> b = random(6);
  float* result = device_array<float>(y_.size());
  ASSERT_EQ(
      execute(make_plan(2), {1, 2, 4, 6}, {to_device(x_), to_device(w_), to_device(b), result}),
      kCudnnDone);
  const std::vector<float> got = to_host(result, y_.size());
  for (std::int64_t k = 0; k < 6; ++k) {
    const double wanted =
        std::max(0.0, expected(0, k, 1, 3) + static_cast<double>(b[static_cast<std::size_t>(k)]));
    EXPECT_NEAR(static_cast<double>(got[static_cast<std::size_t>((1 * 8 + 3) * 6 + k)]), wanted,
                1e-5);
  }
}

TEST_F(Cudnn, OnlyTheFirstEngineGivesOtherBitsEachTime) {
  ASSERT_EQ(make_graph({convolution(kForward).handle}), kCudnnDone);
  for (std::size_t engine = 0; engine < 3; ++engine) {
    const Described& plan = make_plan(engine);
    std::vector<std::vector<float>> results;
    for (int i = 0; i < 2; ++i) {
      float* y = device_array<float>(y_.size());
      ASSERT_EQ(execute(plan, {1, 2, 3}, {to_device(x_), to_device(w_), y}), kCudnnDone);
      results.push_back(to_host(y, y_.size()));
    }
    EXPECT_EQ(results[0] == results[1], engine != 0) << engine;
  }
}

TEST_F(Cudnn, AttributesAreChecked) {
  Described t(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  EXPECT_EQ(t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_FLOAT, std::vector<float>{1}),
            CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE);
  EXPECT_EQ(t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, Sizes{1, 2}),
            CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND);
  EXPECT_EQ(t.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, Sizes{1}),
            CUDNN_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(t.finalize(), CUDNN_STATUS_BAD_PARAM);
  Described operation(kForward.type);
  EXPECT_EQ(operation.set(kForward.x, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::vector<void*>{t.handle}),
            CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
}

TEST_F(Cudnn, GraphsThatCannotRunAreRefused) {
  shapes_.y[2] = 5;
  EXPECT_EQ(make_graph({convolution(kForward).handle}), CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
  shapes_ = {};
  shapes_.after = {1, 3};
  EXPECT_EQ(make_graph({convolution(kForward).handle}), CUDNN_STATUS_NOT_SUPPORTED_PADDING);
}

TEST_F(Cudnn, PointersMustBeBoundAndAligned) {
  ASSERT_EQ(make_graph({convolution(kForward).handle}), kCudnnDone);
  const Described& plan = make_plan(2);
  void* x = to_device(x_);
  void* w = to_device(w_);
  float* y = device_array<float>(y_.size() + 1);
  EXPECT_EQ(execute(plan, {1, 2}, {x, w}), CUDNN_STATUS_BAD_PARAM);
  EXPECT_EQ(execute(plan, {1, 2, 3}, {x, w, y + 1}), CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER);
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH((void)execute(plan, {1, 2, 3}, {x, w, y + 8}), "tensor 3: not 1536 bytes");
}

}  // namespace
}  // namespace dlt::emulator
