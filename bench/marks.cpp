// SPDX-License-Identifier: Apache-2.0
// What a sign of life costs the thread that makes it: bench_marks. A training step makes a mark a
// leaf and parameter tensor, and about ten more.
#include <memory>
#include <thread>

#include <benchmark/benchmark.h>
#include <boost/asio.hpp>

#include "launcher/control/client.h"
#include "launcher/control/server.h"

namespace {

using namespace dlt;
using namespace dlt::launcher;

observe::Mark mark_of(std::int64_t step) {
  return {.phase = observe::Phase::backward, .step = step, .leaf = 3, .row = 4096};
}

void silent(benchmark::State& state) {
  observe::Pulse& pulse = observe::silent_pulse();
  for (auto _ : state) pulse.mark(mark_of(1));
}
BENCHMARK(silent);

void clock_alone(benchmark::State& state) {
  const SystemClock clock;
  for (auto _ : state) benchmark::DoNotOptimize(clock.monotonic_s());
}
BENCHMARK(clock_alone);

void ring_alone(benchmark::State& state) {
  observe::FlightRing ring(observe::RingOwner{});
  for (auto _ : state) ring.mark(1.5, mark_of(1));
}
BENCHMARK(ring_alone);

/// A rank and dlrun's end in one process. Arguments: marks a step; heartbeat in ms.
void connected(benchmark::State& state) {
  static std::unique_ptr<ControlClient> client;
  static std::unique_ptr<observe::FlightRing> ring;
  static SystemClock clock;
  boost::asio::io_context context;
  std::unique_ptr<ControlServer> server;
  std::thread thread;
  if (state.thread_index() == 0) {
    const std::string token = make_token();
    server = std::make_unique<ControlServer>(
        context, ServerOptions{.token = token}, clock,
        ServerEvents{.message = [](std::int32_t, std::int64_t, const FromRank&) {},
                     .disconnected = [](std::int32_t, std::int64_t) {},
                     .refused = [](const std::string&) {}});
    const std::string address = server->address();
    thread = std::thread([&] { context.run(); });
    ring = std::make_unique<observe::FlightRing>(observe::RingOwner{});
    client = std::make_unique<ControlClient>(
        ClientOptions{
            .hello = {.pid = 1, .generation = 1, .host = "a"}, .address = address, .token = token},
        clock, *ring, ClientEvents{.stop = [](const Stop&) {}, .cut_off = [](const Error&) {}});
    client->set_times(static_cast<double>(state.range(1)) * 1e-3, 60);
  }
  std::int64_t n = 0;
  for (auto _ : state) client->mark(mark_of(++n / state.range(0)));
  if (state.thread_index() != 0) return;
  client.reset();
  context.stop();
  thread.join();
}
BENCHMARK(connected)->Args({20, 500})->Args({20, 1})->Threads(1)->Threads(2)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
