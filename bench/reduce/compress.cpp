// SPDX-License-Identifier: Apache-2.0
// Rates of what a compression does to a gradient, one core: GB of f32 a second there and back, with
// error feedback where the compression has it, beside a copy of the same memory.
//   taskset -c 1 compress_bench [MEGABYTES...]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "base/rng.h"
#include "ddp/compression/block_codec.h"
#include "ddp/compression/low_rank.h"
#include "ddp/compression/top_elements.h"
#include "ddp/sum.h"

namespace dlt::ddp {
namespace {

constexpr int kRounds = 9;

/// The best of several rounds, in seconds.
double best_s(const std::function<void()>& work) {
  const SystemClock clock;
  work();
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const double start = clock.monotonic_s();
    work();
    best = std::min(best, clock.monotonic_s() - start);
  }
  return best;
}

struct Buffers {
  std::vector<float> values, residual, out;
  std::vector<std::byte> bytes;
  explicit Buffers(std::int64_t count)
      : values(static_cast<std::size_t>(count)),
        residual(values.size()),
        out(values.size()),
        bytes(values.size() * 3) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = rng::normal({.op = 1}, i);
  }
};

void row(const char* name, std::int64_t count, double there_s, double back_s, double sent_bytes) {
  const double gb = static_cast<double>(count) * 4e-9;
  std::printf("  %-18s %8.1f %8.1f %8.1f %10.1f %%\n", name, gb / there_s, gb / back_s,
              gb / (there_s + back_s), sent_bytes / (static_cast<double>(count) * 4) * 100);
}

void measure_codec(const char* name, const BlockCodec& codec, bool feedback, Buffers& b) {
  const auto count = static_cast<std::int64_t>(b.values.size());
  const double there = best_s([&] {
    std::byte* out = b.bytes.data();
    for (std::int64_t at = 0; at < count; at += kChunk) {
      const std::int64_t n = std::min(kChunk, count - at);
      if (feedback) add(b.out.data() + at, b.values.data() + at, b.residual.data() + at, n);
      const float* from = feedback ? b.out.data() : b.values.data();
      codec.encode(from + at, n, out, feedback ? b.residual.data() + at : nullptr);
      out += codec.encoded_bytes(n);
    }
  });
  const double back = best_s([&] { codec.decode(b.bytes.data(), count, b.out.data()); });
  row(name, count, there, back, static_cast<double>(codec.encoded_bytes(count)));
}

void measure_top(double share, Buffers& b) {
  const auto count = static_cast<std::int64_t>(b.values.size());
  const auto k = static_cast<std::int64_t>(share * static_cast<double>(count));
  TopElements top(count);
  std::vector<std::uint32_t> places(static_cast<std::size_t>(k));
  const double there = best_s([&] {
    top.begin();
    for (std::int64_t at = 0; at < count; at += kBlock) {
      const std::int64_t n = std::min(kBlock, count - at);
      add(b.out.data() + at, b.values.data() + at, b.residual.data() + at, n);
      top.look_at(b.out.data() + at, n);
    }
    std::size_t chosen = 0;
    top.choose(b.out.data(), count, k, [&](std::uint32_t place) { places[chosen++] = place; });
    std::copy(b.out.begin(), b.out.end(), b.residual.begin());
    for (const std::uint32_t place : places) b.residual[place] = 0;
  });
  const double back = best_s([&] {
    std::fill(b.out.begin(), b.out.end(), 0.0F);
    for (const std::uint32_t place : places) b.out[place] += 1;
  });
  row("topk 1 %", count, there, back, static_cast<double>(k) * 8);
}

void measure_low_rank(std::int64_t rank, Buffers& b) {
  const MatrixSize size{
      .rows = static_cast<std::int64_t>(b.values.size()) / 1024, .cols = 1024, .rank = rank};
  std::vector<float> p(static_cast<std::size_t>(size.rows * rank)),
      q(static_cast<std::size_t>(size.cols * rank), 1.0F), q_sum(q.size());
  for (std::size_t i = 0; i < q.size(); ++i) q[i] = rng::normal({.op = 2}, i);
  const double there = best_s([&] {
    add(b.out.data(), b.values.data(), b.residual.data(), size.rows * size.cols);
    project(b.out.data(), q.data(), size, p.data());
    (void)orthonormalise(p.data(), size);
    project_back(b.out.data(), p.data(), size, q_sum.data());
  });
  const double back = best_s([&] {
    rebuild({.m = b.values.data(),
             .p = p.data(),
             .q_sum = q_sum.data(),
             .q_own = q_sum.data(),
             .sum = b.out.data(),
             .rest = b.residual.data()},
            size);
  });
  row(rank == 1 ? "powersgd rank 1" : "powersgd rank 4", size.rows * size.cols, there, back,
      static_cast<double>((size.rows + size.cols) * rank) * 4);
}

void measure(double megabytes) {
  const auto count = static_cast<std::int64_t>(megabytes * 1e6 / 4) / 4096 * 4096;
  Buffers b(count);
  std::printf("%.0f MB of f32, GB/s\n  %-18s %8s %8s %8s %12s\n", megabytes, "", "there", "back",
              "both", "sent");
  const double copy =
      best_s([&] { std::memcpy(b.out.data(), b.values.data(), b.values.size() * 4); });
  row("copy", count, copy, copy, static_cast<double>(count) * 4);
  measure_codec("bf16", *make_bf16_codec(), false, b);
  measure_codec("fp16", *make_fp16_codec(), false, b);
  measure_codec("int8, block 256", *make_int8_codec(256), true, b);
  std::fill(b.residual.begin(), b.residual.end(), 0.0F);
  measure_top(0.01, b);
  std::fill(b.residual.begin(), b.residual.end(), 0.0F);
  measure_low_rank(1, b);
  std::fill(b.residual.begin(), b.residual.end(), 0.0F);
  measure_low_rank(4, b);
}

}  // namespace
}  // namespace dlt::ddp

int main(int argc, char** argv) {
  std::vector<double> sizes;
  for (int i = 1; i < argc; ++i) sizes.push_back(std::atof(argv[i]));
  if (sizes.empty()) sizes = {1, 16};
  for (const double megabytes : sizes) dlt::ddp::measure(megabytes);
  return 0;
}
