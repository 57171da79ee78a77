// SPDX-License-Identifier: Apache-2.0
// The kernels of optimisers and sums of the CUDA back end against those of the CPU.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/device_run.h"
#include "base/rng.h"
#include "base/text.h"
#include "conformance/cuda_test.h"

namespace dlt::test {
namespace {

using Floats = std::vector<float>;

constexpr double kOff = std::numeric_limits<double>::infinity();

struct UpdateCase {
  std::string name;
  int num_states = 0;
  std::vector<double> own;  // scalars from the fifth on
  bool measures = false;
};

const std::vector<UpdateCase> kCases{
    {"adadelta_update", 2, {0.9, 1e-6}},
    {"adagrad_update", 1, {1e-10, 0.1, 1.5}},
    {"adam_update", 2, {0.9, 0.999, 1e-8, 0.03, 0.271, 0.002997}},
    {"adam_update", 3, {0.9, 0.999, 1e-8, 0, 0.271, 0.002997}},
    {"adamax_update", 2, {0.9, 0.999, 1e-8, 0.271}},
    {"lamb_measure", 2, {0.9, 0.999, 1e-6, 0.01, 0.271, 0.002997}, true},
    {"lamb_update", 2, {0.9, 0.999, 1e-6, 0.01, 0.271, 0.002997, 0.7}},
    {"lars_measure", 0, {}, true},
    {"lars_update", 1, {0.9, 1e-4, 0.6}},
    {"lion_update", 1, {0.9, 0.99, 0.1}},
    {"nadam_update", 2, {0.9, 0.999, 1e-8, 0.02, 0.002997, 0.01, 0.02}},
    {"rmsprop_update", 1, {0.99, 1e-8, 0, 0}},
    {"rmsprop_update", 2, {0.99, 1e-8, 0.9, 0}},
    {"rmsprop_update", 2, {0.99, 1e-8, 0, 1}},
    {"rmsprop_update", 3, {0.99, 1e-8, 0.9, 1}},
    {"sgd_update", 0, {0, 0}},
    {"sgd_update", 1, {0.9, 0}},
    {"sgd_update", 1, {0.9, 1}},
};

/// learning_rate, grad_scale, l2, l1, clip_value: the usual ones, and all terms.
const std::vector<std::vector<double>> kCommon{{0.01, 0.5, 0.02, 0, kOff},
                                               {0.01, 0.5, 0.02, 0.003, 0.4}};

Floats numbers(std::int64_t count, std::uint64_t seed) {
  Floats values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = rng::normal({.seed = seed}, i);
  return values;
}

class CudaUpdate : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    queue = backend == nullptr ? nullptr : backend->make_queue();
  }

  /// The buffers after an update, then the sums; on the device if there is one, its scalars by
  /// value or in device memory.
  std::vector<Floats> run(tensor::Backend& where, const UpdateCase& update,
                          const std::vector<double>& scalars, std::int64_t count,
                          bool device_scalars = false) {
    const tensor::TensorType one{{1}, DType::f32}, type{{count}, DType::f32}, sums{{2}, DType::f64};
    std::vector<tensor::TensorType> outs(1 + static_cast<std::size_t>(update.num_states), one);
    if (update.measures) outs.push_back(sums);
    const std::vector<tensor::TensorType> ins{one};
    const tensor::Attrs attrs;
    const auto kernel = where.find(update.name)({.inputs = ins, .outputs = outs, .attrs = attrs});
    EXPECT_EQ(kernel->scratch_bytes(), 0);

    const bool host = where.in_host_memory();
    std::vector<tensor::Storage> memory;
    const auto place = [&](const Floats& values, std::int64_t num_bytes) {
      memory.push_back(where.allocate(num_bytes));
      tensor::copy_now(where, memory.back().data(), values.data(),
                       static_cast<std::int64_t>(values.size() * sizeof(float)));
      return memory.back().data();
    };
    const std::vector<tensor::View> inputs{{place(numbers(count, 1), type.bytes()), type}};
    std::vector<tensor::View> outputs;
    for (int i = 0; i <= update.num_states; ++i) {
      Floats values = numbers(count, 2 + static_cast<std::uint64_t>(i));
      // Second moments are not negative; rmsprop's mean of squares is above the mean's square.
      for (float& v : values) {
        if (i > 0) v = i > 1 && update.name == "rmsprop_update" ? 0.01f * v : v * v + 1.0f;
      }
      outputs.push_back({place(values, type.bytes()), type});
    }
    if (update.measures) outputs.push_back({place({}, sums.bytes()), sums});
    tensor::RunContext context;
    context.scalars = scalars;
    context.queue = host ? nullptr : queue.get();
    std::vector<double> other(scalars.size(), -1.0);
    if (device_scalars) {
      const auto size = static_cast<std::int64_t>(scalars.size() * sizeof(double));
      memory.push_back(where.allocate(size));
      tensor::copy_now(where, memory.back().data(), scalars.data(), size);
      context.device_scalars = reinterpret_cast<const double*>(memory.back().data());
      context.scalars = other;  // must not matter
    }
    kernel->run({.inputs = inputs, .outputs = outputs, .scratch = nullptr, .run = context});
    if (!host) queue->wait();
    std::vector<Floats> result;
    for (const tensor::View& view : outputs) {
      result.emplace_back(static_cast<std::size_t>(view.type.bytes()) / sizeof(float));
      tensor::copy_now(where, result.back().data(), view.data, view.type.bytes());
    }
    return result;
  }

  std::unique_ptr<tensor::Queue> queue;
};

std::vector<double> all_scalars(const UpdateCase& update, const std::vector<double>& common) {
  std::vector<double> scalars = common;
  scalars.insert(scalars.end(), update.own.begin(), update.own.end());
  return scalars;
}

double sum_at(const Floats& sums, std::size_t index) {
  double sum = 0;
  std::memcpy(&sum, sums.data() + 2 * index, sizeof sum);
  return sum;
}

TEST_F(CudaUpdate, EveryOptimiserFollowsTheCpu) {
  const auto cpu = tensor::make_cpu_backend();
  for (const UpdateCase& update : kCases) {
    for (const auto& common : kCommon) {
      for (const std::int64_t count : {1, 7, 16, 1003, 5000}) {
        const std::vector<double> scalars = all_scalars(update, common);
        const auto got = run(*backend, update, scalars, count);
        const auto want = run(*cpu, update, scalars, count);
        for (std::size_t k = 0; k < want.size(); ++k) {
          if (update.measures && k + 1 == want.size()) {
            for (const std::size_t i : {0u, 1u}) {
              EXPECT_NEAR(sum_at(got[k], i), sum_at(want[k], i), 1e-6 * sum_at(want[k], i))
                  << update.name;
            }
            continue;
          }
          for (std::size_t i = 0; i < want[k].size(); ++i) {
            ASSERT_NEAR(static_cast<double>(got[k][i]), static_cast<double>(want[k][i]),
                        1e-6 * std::max(1.0, std::abs(static_cast<double>(want[k][i]))))
                << update.name << " states " << update.num_states << " count " << count
                << " buffer " << k << " element " << i;
          }
        }
      }
    }
  }
}

TEST_F(CudaUpdate, ScalarsMayBeInDeviceMemory) {
  for (const UpdateCase& update : kCases) {
    const std::vector<double> scalars = all_scalars(update, kCommon[1]);
    EXPECT_EQ(run(*backend, update, scalars, 1003, true), run(*backend, update, scalars, 1003))
        << update.name;
  }
}

TEST_F(CudaUpdate, AverageMovesOrCopies) {
  for (const double weight : {0.25, 1.0}) {
    const UpdateCase average{"average_update", 0, {}, false};
    const auto got = run(*backend, average, {weight}, 101);
    const Floats params = numbers(101, 1), before = numbers(101, 2);
    for (std::size_t i = 0; i < params.size(); ++i) {
      const float want = weight == 1.0 ? params[i] : before[i] + 0.25f * (params[i] - before[i]);
      EXPECT_NEAR(static_cast<double>(got[0][i]), static_cast<double>(want),
                  weight == 1.0 ? 0.0 : 1e-6);
    }
  }
}

TEST_F(CudaUpdate, AccumulateAddsEachElement) {
  const auto got = run(*backend, {"accumulate", 0, {}, false}, {}, 1003);
  const Floats src = numbers(1003, 1), before = numbers(1003, 2);
  for (std::size_t i = 0; i < src.size(); ++i) EXPECT_EQ(got[0][i], before[i] + src[i]);
}

/// bits_hash of values, which are copied to the device.
std::int64_t bits_hash(tensor::Backend& backend, const Floats& values) {
  const std::vector<tensor::TensorType> ins{{{1}, DType::f32}}, outs{{{1}, DType::i64}};
  const auto kernel = backend.find("bits_hash")({.inputs = ins, .outputs = outs, .attrs = {}});
  const auto count = static_cast<std::int64_t>(values.size());
  const tensor::TensorType type{{count}, DType::f32};
  const tensor::Storage there = backend.allocate(type.bytes());
  const tensor::Storage result = backend.allocate(sizeof(std::int64_t));
  const auto queue = backend.make_queue();
  queue->copy(there.data(), values.data(), type.bytes());
  const std::vector<tensor::View> in{{there.data(), type}}, out{{result.data(), outs[0]}};
  tensor::RunContext context;
  context.queue = queue.get();
  kernel->run({.inputs = in, .outputs = out, .scratch = nullptr, .run = context});
  std::int64_t hash = 0;
  queue->copy(&hash, result.data(), sizeof hash);
  queue->wait();
  return hash;
}

TEST_F(CudaUpdate, BitsHashTellsEveryBitAndPlace) {
  const Floats values = numbers(70001, 1);
  const std::int64_t hash = bits_hash(*backend, values);
  EXPECT_EQ(bits_hash(*backend, values), hash);
  for (const std::size_t at : {std::size_t{0}, std::size_t{255}, std::size_t{70000}}) {
    Floats other = values;
    other[at] = std::nextafter(other[at], 9.0F);
    EXPECT_NE(bits_hash(*backend, other), hash) << at;
    other = values;
    std::swap(other[at], other[at == 0 ? 1 : at - 1]);
    EXPECT_NE(bits_hash(*backend, other), hash) << at;
  }
  EXPECT_NE(bits_hash(*backend, {0.0F}), bits_hash(*backend, {-0.0F}));
}

/// sum_of_squares of [begin, end) of values, where they lie in device memory.
double sum_of_squares(tensor::Backend& backend, tensor::Queue& queue, const std::byte* values,
                      std::int64_t begin, std::int64_t end) {
  const std::vector<tensor::TensorType> ins{{{1}, DType::f32}}, outs{{{1}, DType::f64}};
  const auto kernel = backend.find("sum_of_squares")({.inputs = ins, .outputs = outs, .attrs = {}});
  const tensor::Storage result = backend.allocate(sizeof(double));
  const tensor::TensorType type{{end - begin}, DType::f32};
  const std::vector<tensor::View> in{
      {const_cast<std::byte*>(values) + begin * static_cast<std::int64_t>(sizeof(float)), type}};
  const std::vector<tensor::View> out{{result.data(), outs[0]}};
  tensor::RunContext context;
  context.queue = &queue;
  kernel->run({.inputs = in, .outputs = out, .scratch = nullptr, .run = context});
  double sum = 0;
  queue.copy(&sum, result.data(), sizeof sum);
  queue.wait();
  return sum;
}

TEST_F(CudaUpdate, SumsOfSquaresAreExactToF64AndOneByOneOrAllAtOnce) {
  constexpr std::int64_t kCount = 40000;
  const Floats values = numbers(kCount, 5);
  const tensor::Storage x = backend->allocate(kCount * 4);
  tensor::copy_now(*backend, x.data(), values.data(), kCount * 4);
  const std::vector<std::int64_t> ranges{0, 16384, 16384, 32768, 32768, 40000, 3, 4, 5, 5, 7, 1000};
  const auto num_ranges = static_cast<std::int64_t>(ranges.size()) / 2;
  const auto ranges_bytes = static_cast<std::int64_t>(ranges.size() * sizeof(std::int64_t));
  const tensor::Storage table_memory = backend->allocate(ranges_bytes);
  tensor::copy_now(*backend, table_memory.data(), ranges.data(), ranges_bytes);
  const std::vector<tensor::TensorType> ins{{{kCount}, DType::f32}, {{num_ranges, 2}, DType::i64}},
      outs{{{num_ranges}, DType::f64}};
  const auto kernel =
      backend->find("sum_of_squares_blocks")({.inputs = ins, .outputs = outs, .attrs = {}});
  const tensor::Storage result = backend->allocate(outs[0].bytes());
  const std::vector<tensor::View> in{{x.data(), ins[0]}, {table_memory.data(), ins[1]}},
      out{{result.data(), outs[0]}};
  tensor::RunContext context;
  context.queue = queue.get();
  kernel->run({.inputs = in, .outputs = out, .scratch = nullptr, .run = context});
  std::vector<double> got(static_cast<std::size_t>(num_ranges));
  queue->copy(got.data(), result.data(), outs[0].bytes());
  queue->wait();
  for (std::size_t k = 0; k < got.size(); ++k) {
    const std::int64_t begin = ranges[2 * k], end = ranges[2 * k + 1];
    double want = 0;
    for (std::int64_t i = begin; i < end; ++i) {
      const auto v = static_cast<double>(values[static_cast<std::size_t>(i)]);
      want += v * v;
    }
    EXPECT_NEAR(got[k], want, 1e-12 * want) << begin << " to " << end;
    EXPECT_EQ(got[k], sum_of_squares(*backend, *queue, x.data(), begin, end)) << begin;
  }
}

}  // namespace
}  // namespace dlt::test
