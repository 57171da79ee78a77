// SPDX-License-Identifier: Apache-2.0
// Speed of the CPU's kernels on one core: taskset -c 1 build/bench/bench_kernels
// GFLOP/s of products, GB/s of the rest (bytes of all operands, read and written once each).
// Peak/avx2 and Peak/avx512 measure what the core can do at best at the same moment.
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "tensor/backend.h"

namespace {

using dlt::DType;
using dlt::tensor::Attrs;
using dlt::tensor::Shape;
using dlt::tensor::Storage;
using dlt::tensor::TensorType;
using dlt::tensor::View;

constexpr double kGiga = 1e9;

/// A call of one kernel on memory of its own.
struct Case {
  std::string name, op;
  std::vector<TensorType> inputs, outputs;
  Attrs attrs;
  std::vector<double> scalars;
  double flops = 0;   // 0: report bytes
  float largest = 1;  // of the inputs
};

TensorType f32(Shape shape) { return {shape, DType::f32}; }

class Operands {
 public:
  explicit Operands(const std::vector<TensorType>& types, float largest = 1) {
    for (const TensorType& type : types) {
      memory_.push_back(Storage::allocate(type.bytes()));
      views_.push_back({memory_.back().data(), type});
      bytes_ += static_cast<double>(type.bytes());
      if (type.dtype != DType::f32) continue;  // labels stay 0
      for (std::int64_t i = 0; i < type.shape.numel(); ++i) {
        views_.back().as<float>()[i] =
            largest * (dlt::rng::to_unit(static_cast<std::uint32_t>(i) * 2654435761u) + 0.01f);
      }
    }
  }
  [[nodiscard]] const std::vector<View>& views() const { return views_; }
  [[nodiscard]] double bytes() const { return bytes_; }

 private:
  std::vector<Storage> memory_;
  std::vector<View> views_;
  double bytes_ = 0;
};

void run_case(benchmark::State& state, const std::string& isa, const Case& c) {
  const auto backend = dlt::tensor::make_cpu_backend(isa);
  const auto kernel =
      backend->find(c.op)({.inputs = c.inputs, .outputs = c.outputs, .attrs = c.attrs});
  const Operands in(c.inputs, c.largest), out(c.outputs);
  const Storage scratch = Storage::allocate(kernel->scratch_bytes());
  const std::vector<std::int64_t> ids(4096, 17);
  dlt::tensor::RunContext context;
  context.sample_ids = ids;
  context.scalars = c.scalars;
  for (auto _ : state) {
    kernel->run(
        {.inputs = in.views(), .outputs = out.views(), .scratch = scratch.data(), .run = context});
    benchmark::ClobberMemory();
  }
  const double runs = static_cast<double>(state.iterations());
  const bool update = c.op.ends_with("_update") || c.op == "accumulate";
  if (c.flops > 0) {
    state.counters["GFLOP/s"] =
        benchmark::Counter(c.flops * runs / kGiga, benchmark::Counter::kIsRate);
  } else {
    const double bytes = in.bytes() + (update ? 2 : 1) * out.bytes();
    state.counters["GB/s"] = benchmark::Counter(bytes * runs / kGiga, benchmark::Counter::kIsRate);
  }
}

Case product(const std::string& name, std::int64_t m, std::int64_t k, std::int64_t n,
             std::pair<bool, bool> transposed) {
  Attrs attrs;
  const auto [a, b] = transposed;
  if (a) attrs.set("trans_a", std::int64_t{1});
  if (b) attrs.set("trans_b", std::int64_t{1});
  return {name,
          "matmul",
          {f32(a ? Shape{k, m} : Shape{m, k}), f32(b ? Shape{n, k} : Shape{k, n})},
          {f32({m, n})},
          attrs,
          {},
          2.0 * static_cast<double>(m * k * n)};
}

/// The products of a dense layer at batch m: forward, weights' and inputs' gradient.
void add_layer(std::vector<Case>& cases, std::int64_t m, std::int64_t k, std::int64_t n) {
  const std::string size = std::to_string(m) + "x" + std::to_string(k) + "x" + std::to_string(n);
  cases.push_back(product("forward/" + size, m, k, n, {false, false}));
  cases.push_back(product("weight_grad/" + size, k, m, n, {true, false}));
  cases.push_back(product("input_grad/" + size, m, n, k, {false, true}));
}

void add_updates(std::vector<Case>& cases, std::int64_t count, const std::string& size) {
  const TensorType flat = f32({count});
  // learning_rate, grad_scale, l2, l1, clip_value, then each optimiser's own.
  const double inf = std::numeric_limits<double>::infinity();
  const auto add = [&](const std::string& name, const char* kernel, std::size_t states,
                       std::vector<double> own) {
    std::vector<double> scalars{1e-9, 1, 0, 0, inf};
    scalars.insert(scalars.end(), own.begin(), own.end());
    cases.push_back(
        {name + "/" + size, kernel, {flat}, std::vector(1 + states, flat), {}, scalars});
  };
  add("sgd_update", "sgd_update", 0, {0, 0});
  add("sgd_momentum_update", "sgd_update", 1, {0.9, 0});
  add("adam_update", "adam_update", 2, {0.9, 0.999, 1e-8, 0, 0.1, 0.001});
  add("adadelta_update", "adadelta_update", 2, {0.9, 1e-6});
  add("adagrad_update", "adagrad_update", 1, {1e-10, 0.1, 1});
  add("adamax_update", "adamax_update", 2, {0.9, 0.999, 1e-8, 0.1});
  add("lamb_update", "lamb_update", 2, {0.9, 0.999, 1e-6, 0, 0.1, 0.001, 1});
  add("lars_update", "lars_update", 1, {0.9, 0, 1});
  add("lion_update", "lion_update", 1, {0.9, 0.99, 0});
  add("nadam_update", "nadam_update", 2, {0.9, 0.999, 1e-8, 0, 0.001, 1e-9, 1e-9});
  add("rmsprop_update", "rmsprop_update", 1, {0.99, 1e-8, 0, 0});
  cases.push_back({"average_update/" + size, "average_update", {flat}, {flat}, {}, {0.001}});
  cases.push_back({"accumulate/" + size, "accumulate", {flat}, {flat}, {}, {}});
  cases.push_back(
      {"sum_of_squares/" + size, "sum_of_squares", {flat}, {{{1}, DType::f64}}, {}, {}});
}

void add_pointwise(std::vector<Case>& cases) {
  const TensorType x = f32({128, 512}), batch = f32({128});
  for (const char* op : {"relu", "tanh", "sigmoid", "softplus", "silu", "gelu", "exp", "log",
                         "softmax", "log_softmax"}) {
    cases.push_back({op, op, {x}, {x}, {}, {}});
  }
  for (const char* op : {"add", "relu_grad", "gelu_grad", "softmax_grad"}) {
    cases.push_back({op, op, {x, x}, {x}, {}, {}});
  }
  const Attrs by_tanh{{"approximate", std::string("tanh")}};
  cases.push_back({"gelu_tanh", "gelu", {x}, {x}, by_tanh, {}});
  cases.push_back({"gelu_tanh_grad", "gelu_grad", {x, x}, {x}, by_tanh, {}});
  cases.push_back({"dropout", "dropout", {x}, {x}, {{"rate", 0.5}}, {}});
  cases.push_back({"bias_grad", "bias_grad", {x}, {f32({512})}, {}, {}});
  cases.push_back({"activation_bias_grad",
                   "activation_bias_grad",
                   {x, x},
                   {x, f32({512})},
                   {{"activation", std::string("relu")}},
                   {}});
  cases.push_back({"mse_loss", "mse_loss", {x, x}, {batch}, {}, {}});
}

std::string text(const Shape& shape) {
  std::string out;
  for (const std::int64_t size : shape.dims()) out += "/" + std::to_string(size);
  return out;
}

void add_cross_entropy(std::vector<Case>& cases, const Shape& shape) {
  const TensorType logits = f32(shape), batch = f32({shape[0]});
  const Shape rows(shape.dims().first(shape.dims().size() - 1));
  const TensorType labels{rows, DType::i32}, lse = f32(rows);
  const std::string size = text(shape);
  cases.push_back({"softmax_cross_entropy" + size,
                   "softmax_cross_entropy",
                   {logits, labels},
                   {batch, lse},
                   {},
                   {}});
  cases.push_back({"softmax_cross_entropy_grad" + size,
                   "softmax_cross_entropy_grad",
                   {logits, labels, lse, batch},
                   {logits},
                   {},
                   {}});
}

/// Labels are all one class, so no state may be left out.
void add_ctc(std::vector<Case>& cases, const Shape& shape, std::int64_t num_labels) {
  const TensorType logp = f32(shape), labels{{shape[0], num_labels}, DType::i32};
  const TensorType batch = f32({shape[0]});
  const Attrs attrs{{"blank", shape.last() - 1}};
  const std::string size = text(shape) + "/" + std::to_string(num_labels);
  cases.push_back({"ctc_loss" + size, "ctc_loss", {logp, labels}, {batch}, attrs, {}});
  cases.push_back(
      {"ctc_loss_grad" + size, "ctc_loss_grad", {logp, labels, batch}, {logp}, attrs, {}});
}

/// FLOPs of the two forward products and the four of the derivative; what a causal mask hides is
/// not counted, nor the scores that the derivative computes again.
void add_attention(std::vector<Case>& cases, std::int64_t batch, std::int64_t length,
                   std::int64_t heads, std::int64_t head_size) {
  const TensorType qkv = f32({batch, length, 3 * heads * head_size});
  const TensorType y = f32({batch, length, heads * head_size}), lse = f32({batch, heads, length});
  const std::string size = "/" + std::to_string(batch) + "x" + std::to_string(length) + "x" +
                           std::to_string(heads) + "x" + std::to_string(head_size);
  for (const std::int64_t causal : {0, 1}) {
    const Attrs attrs{{"heads", heads}, {"causal", causal}};
    const std::string name = (causal != 0 ? "/causal" : "") + size;
    const std::int64_t pairs = causal != 0 ? length * (length + 1) / 2 : length * length;
    const double product = 2.0 * static_cast<double>(batch * heads * pairs * head_size);
    cases.push_back({"attention" + name, "attention", {qkv}, {y, lse}, attrs, {}, 2 * product});
    cases.push_back({"attention_grad" + name,
                     "attention_grad",
                     {qkv, y, lse, y},
                     {qkv},
                     attrs,
                     {},
                     4 * product});
  }
}

/// batch_norm and relu as one op, beside a copy of the same memory.
void add_batch_norm(std::vector<Case>& cases, const Shape& shape) {
  const TensorType x = f32(shape), c = f32({shape.last()}), weight = f32({shape[0]});
  const Attrs relu{{"activation", std::string("relu")}};
  const std::string size = text(shape);
  cases.push_back({"copy" + size, "copy", {x}, {x}, {}, {}});
  cases.push_back(
      {"batch_norm_relu" + size, "batch_norm", {x, c, c, weight}, {x, c, c, c}, relu, {}});
  cases.push_back({"batch_norm_relu_grad" + size,
                   "batch_norm_grad",
                   {x, x, c, c, c, c, weight},
                   {x, c, c},
                   relu,
                   {}});
  // The end of a residual block as one op, and its parts.
  cases.push_back(
      {"batch_norm_add_relu" + size, "batch_norm", {x, c, c, weight, x}, {x, c, c, c}, relu, {}});
  cases.push_back({"batch_norm" + size, "batch_norm", {x, c, c, weight}, {x, c, c, c}, {}, {}});
  cases.push_back({"add" + size, "add", {x, x}, {x}, {}, {}});
  cases.push_back({"relu" + size, "relu", {x}, {x}, {}, {}});
  cases.push_back({"batch_norm_add_relu_grad" + size,
                   "batch_norm_grad",
                   {x, x, c, c, c, c, weight, x},
                   {x, c, c, x},
                   relu,
                   {}});
  cases.push_back(
      {"batch_norm_grad" + size, "batch_norm_grad", {x, x, c, c, c, c, weight}, {x, c, c}, {}, {}});
  cases.push_back({"relu_grad" + size, "relu_grad", {x, x}, {x}, {}, {}});
}

void add_layer_norm(std::vector<Case>& cases, std::int64_t rows, std::int64_t n) {
  const TensorType x = f32({rows, n}), c = f32({n}), row = f32({rows});
  const std::string size = text(x.shape);
  cases.push_back({"copy" + size, "copy", {x}, {x}, {}, {}});
  cases.push_back({"layer_norm" + size, "layer_norm", {x, c, c}, {x, row, row}, {}, {}});
  cases.push_back(
      {"add_layer_norm" + size, "add_layer_norm", {x, x, c, c}, {x, x, row, row}, {}, {}});
  cases.push_back(
      {"layer_norm_grad" + size, "layer_norm_grad", {x, x, c, row, row}, {x, c, c}, {}, {}});
}

/// 2 x 2 windows side by side.
void add_max_pool(std::vector<Case>& cases, const Shape& image) {
  const TensorType x = f32(image), y = f32({image[0], image[1] / 2, image[2] / 2, image[3]});
  const TensorType index{y.shape, DType::u8};
  Attrs attrs{{"window", std::vector<std::int64_t>{2, 2}},
              {"strides", std::vector<std::int64_t>{2, 2}},
              {"pads", std::vector<std::int64_t>{0, 0, 0, 0}}};
  cases.push_back({"copy" + text(image), "copy", {x}, {x}, {}, {}});
  cases.push_back({"max_pool2d" + text(image), "max_pool2d", {x}, {y, index}, attrs, {}});
  attrs.set("shape", std::vector<std::int64_t>(image.dims().begin(), image.dims().end()));
  cases.push_back({"max_pool2d_grad" + text(image), "max_pool2d_grad", {y, index}, {x}, attrs, {}});
}

/// Recurrent layers on sequences, without the product of the inputs: FLOPs of the recurrent one.
void add_recurrent(std::vector<Case>& cases, std::int64_t batch, std::int64_t steps,
                   std::int64_t units) {
  const std::string size =
      "/" + std::to_string(batch) + "x" + std::to_string(steps) + "x" + std::to_string(units);
  const TensorType y = f32({batch, steps, units}), state = f32({batch, units});
  const Attrs dy{{"dy", std::int64_t{1}}};
  for (const auto& [op, gates] : {std::pair{"lstm", 4}, std::pair{"gru", 3}}) {
    const TensorType x = f32({batch, steps, gates * units}), weight = f32({units, gates * units});
    const double flops = 2.0 * static_cast<double>(batch * steps * units * units * gates);
    const std::string name = op;
    const bool lstm = gates == 4;
    const std::vector<TensorType> outputs = lstm ? std::vector<TensorType>{x, y, state, state, y}
                                                 : std::vector<TensorType>{x, y, state, y};
    cases.push_back({name + size, name, {x, weight}, outputs, {}, {}, flops, 0.05f});
    const std::vector<TensorType> inputs = lstm ? std::vector<TensorType>{x, y, weight, y}
                                                : std::vector<TensorType>{x, y, y, weight, y};
    const std::vector<TensorType> grads =
        lstm ? std::vector<TensorType>{x} : std::vector<TensorType>{x, y};
    cases.push_back({name + "_grad" + size, name + "_grad", inputs, grads, dy, {}, flops, 0.05f});
    cases.push_back({name + "_weight_grad" + size,
                     "recurrent_weight_grad",
                     {y, x},
                     {weight},
                     {},
                     {},
                     flops,
                     0.05f});
  }
}

/// The three directions of a convolution on square images, padded alike on all sides. The FLOPs are
/// those of every kernel position, padding included.
struct ConvShape {
  std::int64_t batch = 0, size = 0, in = 0, out = 0, kernel = 1, stride = 1, pad = 0, groups = 1;
};

void add_conv(std::vector<Case>& cases, const ConvShape& c) {
  const std::int64_t out_size = (c.size + 2 * c.pad - c.kernel) / c.stride + 1;
  const TensorType x = f32({c.batch, c.size, c.size, c.in});
  const TensorType w = f32({c.kernel, c.kernel, c.in / c.groups, c.out});
  const TensorType y = f32({c.batch, out_size, out_size, c.out});
  Attrs attrs{{"stride_h", c.stride}, {"stride_w", c.stride}, {"pad_top", c.pad},
              {"pad_left", c.pad},    {"pad_bottom", c.pad},  {"pad_right", c.pad},
              {"groups", c.groups}};
  std::string size;
  for (const std::int64_t n : {c.batch, c.size, c.in, c.out, c.kernel, c.stride}) {
    size += (size.empty() ? "/" : "x") + std::to_string(n);
  }
  if (c.groups > 1) size += "g" + std::to_string(c.groups);
  const double flops =
      2.0 * static_cast<double>(y.shape.numel() * c.kernel * c.kernel * c.in / c.groups);
  cases.push_back({"conv2d" + size, "conv2d", {x, w}, {y}, attrs, {}, flops});
  Attrs weight = attrs;
  weight.set("kernel_h", c.kernel);
  weight.set("kernel_w", c.kernel);
  cases.push_back(
      {"conv2d_weight_grad" + size, "conv2d_weight_grad", {x, y}, {w}, weight, {}, flops});
  attrs.set("in_h", c.size);
  attrs.set("in_w", c.size);
  cases.push_back({"conv2d_input_grad" + size, "conv2d_input_grad", {y, w}, {x}, attrs, {}, flops});
}

void add_convs(std::vector<Case>& cases) {
  add_conv(cases, {64, 28, 1, 6, 5, 1, 2});  // LeNet-5
  add_conv(cases, {64, 14, 6, 16, 5, 1, 0});
  add_conv(cases, {64, 14, 20, 50, 5, 1, 0});  // its wider form
  add_conv(cases, {32, 32, 3, 64, 3, 1, 1});   // resnet18 of images of 32 x 32
  for (const std::int64_t stage : {1, 2, 4, 8}) {
    const std::int64_t size = 32 / stage, channels = 64 * stage;
    add_conv(cases, {32, size, channels, channels, 3, 1, 1});
    if (stage == 8) break;
    add_conv(cases, {32, size, channels, 2 * channels, 3, 2, 1});
    add_conv(cases, {32, size, channels, 2 * channels, 1, 2, 0});
  }
  add_conv(cases, {32, 32, 64, 64, 3, 1, 1, 64});  // depthwise
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  add_recurrent(cases, 32, 64, 256);
  add_layer(cases, 2048, 256, 1024);
  add_layer(cases, 2048, 256, 65);
  add_attention(cases, 12, 64, 4, 32);
  add_attention(cases, 8, 128, 6, 64);
  add_attention(cases, 4, 1024, 12, 64);
  add_layer(cases, 128, 784, 512);
  add_layer(cases, 128, 512, 512);
  add_layer(cases, 128, 512, 10);
  add_layer(cases, 10, 10, 10);
  add_layer(cases, 10, 10, 1);
  add_layer(cases, 512, 1024, 1024);
  Case layer = product("linear_relu/128x784x512", 128, 784, 512, {false, false});
  layer.op = "linear";
  layer.inputs.push_back(f32({512}));
  layer.attrs.set("activation", std::string("relu"));
  cases.push_back(layer);
  for (const std::int64_t stage : {1, 2, 4, 8}) {  // resnet18 on 32 x 32
    add_batch_norm(cases, {32, 32 / stage, 32 / stage, 64 * stage});
  }
  add_layer_norm(cases, 768, 128);
  add_layer_norm(cases, 1024, 384);
  add_convs(cases);
  add_max_pool(cases, {64, 28, 28, 6});  // LeNet-5
  add_max_pool(cases, {64, 10, 10, 16});
  add_max_pool(cases, {32, 32, 32, 64});
  add_pointwise(cases);
  for (const Shape& shape :
       {Shape{128, 10}, Shape{128, 1000}, Shape{12, 64, 65}, Shape{1, 256, 50257}}) {
    add_cross_entropy(cases, shape);
  }
  add_ctc(cases, {8, 100, 32}, 20);
  add_updates(cases, 669706, "670k");
  add_updates(cases, 50'000'000, "50M");
  return cases;
}

#define DLT_STEP(i)    \
  s##i = s##i * x + y; \
  asm volatile("" : "+v"(s##i))
#define DLT_PEAK(isa, lanes)                                                               \
  __attribute__((target(isa))) void peak_##lanes(benchmark::State& state) {                \
    typedef float Vector __attribute__((vector_size(lanes * 4)));                          \
    constexpr int kSums = 12, kRounds = 4096;                                              \
    const Vector x = Vector{} + 0.999f, y = Vector{} + 0.001f;                             \
    Vector s0 = x, s1 = x, s2 = x, s3 = x, s4 = x, s5 = x, s6 = x, s7 = x, s8 = x, s9 = x; \
    Vector s10 = x, s11 = x;                                                               \
    for (auto _ : state) {                                                                 \
      for (int round = 0; round < kRounds; ++round) {                                      \
        DLT_STEP(0);                                                                       \
        DLT_STEP(1);                                                                       \
        DLT_STEP(2);                                                                       \
        DLT_STEP(3);                                                                       \
        DLT_STEP(4);                                                                       \
        DLT_STEP(5);                                                                       \
        DLT_STEP(6);                                                                       \
        DLT_STEP(7);                                                                       \
        DLT_STEP(8);                                                                       \
        DLT_STEP(9);                                                                       \
        DLT_STEP(10);                                                                      \
        DLT_STEP(11);                                                                      \
      }                                                                                    \
    }                                                                                      \
    const double flops = 2.0 * lanes * kSums * kRounds / kGiga;                            \
    state.counters["GFLOP/s"] = benchmark::Counter(                                        \
        flops * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);     \
  }
DLT_PEAK("avx2,fma", 8)
DLT_PEAK("avx512f", 16)
#undef DLT_PEAK
#undef DLT_STEP

const bool kRegistered = [] {
  const bool avx512 = dlt::cpu_features().avx512;
  benchmark::RegisterBenchmark("Peak/avx2", peak_8);
  if (avx512) benchmark::RegisterBenchmark("Peak/avx512", peak_16);
  for (const Case& c : all_cases()) {
    for (const char* isa : {"avx2", "avx512"}) {
      if (std::string(isa) == "avx512" && !avx512) continue;
      benchmark::RegisterBenchmark((c.name + "/" + isa).c_str(),
                                   [isa, c](benchmark::State& state) { run_case(state, isa, c); });
    }
  }
  return true;
}();

}  // namespace
