// SPDX-License-Identifier: Apache-2.0
// The update of adam on a GPU beside a copy of as much memory: bench_gpu_update [ELEMENTS] [RUNS]
// prints JSON, bandwidths in GB/s of all bytes that are read and written.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "tensor/backend.h"
#include "tensor/gpus.h"
#include "tensor/kernel.h"

namespace dlt {
namespace {

constexpr int kWarmup = 5;
/// Gradients and parameters are read, parameters written, two states both.
constexpr std::int64_t kUpdatePasses = 7;

std::int64_t argument(int argc, char** argv, int index, std::int64_t fallback) {
  if (argc <= index) return fallback;
  const std::int64_t value = std::atoll(argv[index]);
  if (value < 1) {
    throw Error(Exit::usage, cat("expected a number above 0, got '", printable(argv[index]), "'"));
  }
  return value;
}

double mean_ms(tensor::Backend& gpu, tensor::Queue& queue, std::int64_t runs,
               const std::function<void()>& work) {
  const auto from = gpu.make_event(tensor::EventKind::timing);
  const auto to = gpu.make_event(tensor::EventKind::timing);
  for (int i = 0; i < kWarmup; ++i) work();
  queue.record(*from);
  for (std::int64_t i = 0; i < runs; ++i) work();
  queue.record(*to);
  queue.wait();
  return to->ms_since(*from) / static_cast<double>(runs);
}

int measure(std::int64_t count, std::int64_t runs) {
  const tensor::Gpus gpus;
  if (!gpus.why_not().empty()) throw Error(Exit::unavailable, gpus.why_not());
  const auto gpu = gpus.open(0);
  gpu->enter_thread();
  const auto queue = gpu->make_queue();

  const tensor::TensorType one{{1}, DType::f32}, type{{count}, DType::f32};
  const std::vector<tensor::TensorType> ins{one}, outs{one, one, one};
  const tensor::Attrs attrs;
  const tensor::KernelFactory factory = gpu->find("adam_update");
  if (!factory) throw Error(Exit::unavailable, "the GPU back end has no kernel adam_update");
  const auto kernel = factory({.inputs = ins, .outputs = outs, .attrs = attrs});

  std::vector<tensor::Storage> memory;
  std::vector<tensor::View> views;
  for (int i = 0; i < 4; ++i) {
    memory.push_back(gpu->allocate(type.bytes()));
    queue->zero(memory.back().data(), type.bytes());
    views.push_back({memory.back().data(), type});
  }
  const std::vector<double> scalars{
      0.001, 1, 0, 0, std::numeric_limits<double>::infinity(), 0.9, 0.999, 1e-8, 0, 0.271, 0.003};
  tensor::RunContext run;
  run.queue = queue.get();
  run.scalars = scalars;
  const std::span<const tensor::View> all(views);
  const double update_ms = mean_ms(*gpu, *queue, runs, [&] {
    kernel->run(
        {.inputs = all.first(1), .outputs = all.subspan(1), .scratch = nullptr, .run = run});
  });
  const double copy_ms = mean_ms(
      *gpu, *queue, runs, [&] { queue->copy(memory[0].data(), memory[1].data(), type.bytes()); });
  const auto gb = [&](std::int64_t passes) {
    return static_cast<double>(passes * type.bytes()) * 1e-9;
  };
  const double update = gb(kUpdatePasses) / (update_ms * 1e-3), copy = gb(2) / (copy_ms * 1e-3);
  std::printf(
      "{\"elements\": %lld, \"update_ms\": %.4f, \"update_gb_per_s\": %.1f, \"copy_gb_per_s\": "
      "%.1f,"
      " \"share_of_copy\": %.4f}\n",
      static_cast<long long>(count), update_ms, update, copy, update / copy);
  return 0;
}

}  // namespace
}  // namespace dlt

int main(int argc, char** argv) {
  try {
    return dlt::measure(dlt::argument(argc, argv, 1, 128 << 20), dlt::argument(argc, argv, 2, 50));
  } catch (const dlt::Error& error) {
    std::fprintf(stderr, "bench_gpu_update: error: %s\n", error.what());
    return static_cast<int>(error.exit());
  }
}
