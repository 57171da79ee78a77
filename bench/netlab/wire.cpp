// SPDX-License-Identifier: Apache-2.0
// How close messages come to the line between two hosts:
//   bench/netlab/hosts.sh --rate 1gbit -- sh -c '$NETLAB/mpirun -n 2
//   build/release/bench/netlab/wire_bench'
// For each size, GB/s of a bare TCP connection from rank 0 to rank 1 (the line), of one message, of
// a message each way at once, and of a reduction (each rank sends the size once in both forms):
// exact, and the library's allreduce.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "comm/communicator.h"
#include "ddp/reducer.h"

namespace dlt {
namespace {

/// A TCP connection from rank 0 (which listens) to rank 1, with the system's defaults.
class Line {
 public:
  explicit Line(comm::Communicator& comm) : rank_(comm.rank()) {
    const int listener = rank_ == 0 ? socket(AF_INET, SOCK_STREAM, 0) : -1;
    std::array<char, 256> host{};
    std::uint16_t port = 0;
    if (rank_ == 0) {
      DLT_CHECK(listener >= 0 && listen(listener, 1) == 0, "wire_bench: cannot listen");
      sockaddr_in address{};
      socklen_t size = sizeof address;
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
      port = address.sin_port;
      gethostname(host.data(), host.size() - 1);
    }
    comm.broadcast(&port, sizeof port, 0);
    comm.broadcast(host.data(), host.size(), 0);
    socket_ = rank_ == 0 ? accept(listener, nullptr, nullptr) : connect_to(host.data(), port);
    if (listener >= 0) close(listener);
    DLT_CHECK(socket_ >= 0, cat("wire_bench: no connection to ", host.data()));
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Line() { close(socket_); }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  /// From rank 0 to rank 1, and a byte back.
  void message(char* data, std::int64_t num_bytes) {
    char answer = 0;
    if (rank_ == 0) {
      move(data, num_bytes, [this](char* at, std::size_t n) { return write(socket_, at, n); });
      move(&answer, 1, [this](char* at, std::size_t n) { return read(socket_, at, n); });
    } else {
      move(data, num_bytes, [this](char* at, std::size_t n) { return read(socket_, at, n); });
      move(&answer, 1, [this](char* at, std::size_t n) { return write(socket_, at, n); });
    }
  }

 private:
  static int connect_to(const char* host, std::uint16_t port) {
    addrinfo hints{};
    hints.ai_family = AF_INET;
    addrinfo* found = nullptr;
    if (getaddrinfo(host, nullptr, &hints, &found) != 0) return -1;
    sockaddr_in address{};
    std::memcpy(&address, found->ai_addr, sizeof address);
    freeaddrinfo(found);
    address.sin_port = port;
    const int to = socket(AF_INET, SOCK_STREAM, 0);
    const bool connected = connect(to, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    return connected ? to : -1;
  }
  template <typename Call>
  static void move(char* data, std::int64_t num_bytes, Call call) {
    while (num_bytes > 0) {
      const ssize_t moved = call(data, static_cast<std::size_t>(num_bytes));
      DLT_CHECK(moved > 0, "wire_bench: the connection broke");
      data += moved;
      num_bytes -= moved;
    }
  }

  int rank_;
  int socket_ = -1;
};

/// Median seconds of a call that both ranks make, by rank 0's clock.
double median_s(comm::Communicator& comm, int rounds, const std::function<void()>& call) {
  const SystemClock clock;
  std::vector<double> times;
  for (int round = 0; round < rounds + 1; ++round) {
    comm.barrier();
    const double start = clock.monotonic_s();
    call();
    if (round > 0) times.push_back(clock.monotonic_s() - start);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void measure(comm::Communicator& comm, Line& line, double megabytes) {
  const auto count = static_cast<std::int64_t>(megabytes * 1e6 / 4) / 16 * 16;
  const std::int64_t num_bytes = count * 4;
  std::vector<float> mine(static_cast<std::size_t>(count), 1.0F);
  std::vector<float> theirs(static_cast<std::size_t>(count));
  const int peer = 1 - comm.rank();
  const comm::Send send{.peer = peer, .data = mine.data(), .num_bytes = num_bytes};
  const comm::Receive receive{.peer = peer, .data = theirs.data(), .num_bytes = num_bytes};
  char answer = 0;
  const comm::Send send_answer{.peer = peer, .data = &answer, .num_bytes = 1};
  const comm::Receive receive_answer{.peer = peer, .data = &answer, .num_bytes = 1};

  const int rounds = megabytes < 8 ? 9 : 5;
  const double line_s = median_s(
      comm, rounds, [&] { line.message(reinterpret_cast<char*>(mine.data()), num_bytes); });
  const double one_way_s = median_s(comm, rounds, [&] {
    if (comm.rank() == 0) {
      comm.exchange({&send, 1}, {});
      comm.exchange({}, {&receive_answer, 1});
    } else {
      comm.exchange({}, {&receive, 1});
      comm.exchange({&send_answer, 1}, {});
    }
  });
  const double both_s = median_s(comm, rounds, [&] { comm.exchange({&send, 1}, {&receive, 1}); });
  ddp::ReducerOptions options{.total = count, .buckets = {{0, count}}, .num_leaves = 2};
  options.num_sums = 0;
  ddp::Reducer exact(comm, options);
  std::int64_t step = 0;
  const double exact_s = median_s(comm, rounds, [&] {
    exact.begin_step(step++);
    exact.gradients_final(0, 0, count);
    exact.finish_step({});
  });
  const double fast_s = median_s(comm, rounds, [&] {
    comm.allreduce({.data = mine.data(), .count = count}, comm::ReduceOp::sum);
  });
  if (comm.rank() != 0) return;
  const auto rate = [&](double seconds) { return static_cast<double>(num_bytes) / seconds * 1e-9; };
  std::printf("%8.2f %10.4f %10.4f %10.4f %10.4f %10.4f   %5.2f %5.2f %5.2f %5.2f\n", megabytes,
              rate(line_s), rate(one_way_s), rate(both_s), rate(exact_s), rate(fast_s),
              line_s / one_way_s, line_s / both_s, line_s / exact_s, line_s / fast_s);
  std::fflush(stdout);
}

/// Of a message that carries next to nothing, one way.
void measure_latency(comm::Communicator& comm) {
  constexpr int kMessages = 100;
  std::array<char, 64> out{};
  std::array<char, 64> in{};
  const int peer = 1 - comm.rank();
  const comm::Send send{.peer = peer, .data = out.data(), .num_bytes = out.size()};
  const comm::Receive receive{.peer = peer, .data = in.data(), .num_bytes = in.size()};
  const double seconds = median_s(comm, 5, [&] {
    for (int i = 0; i < kMessages; ++i) comm.exchange({&send, 1}, {&receive, 1});
  });
  if (comm.rank() == 0) std::printf("latency %.1f us\n", seconds / kMessages * 1e6);
}

int run(const std::vector<double>& sizes) {
  comm::MpiSession session;
  const auto comm = session.world();
  if (comm->world_size() != 2) {
    if (comm->rank() == 0) std::fputs("wire_bench: start it on two ranks\n", stderr);
    return static_cast<int>(Exit::usage);
  }
  Line line(*comm);
  measure_latency(*comm);
  if (comm->rank() == 0) {
    std::printf("%8s %10s %10s %10s %10s %10s   of the line\n", "MB", "line GB/s", "one way",
                "both ways", "exact", "allreduce");
  }
  for (const double megabytes : sizes) measure(*comm, line, megabytes);
  return 0;
}

}  // namespace
}  // namespace dlt

int main(int argc, char** argv) {
  std::vector<double> sizes;
  for (int i = 1; i < argc; ++i) sizes.push_back(std::atof(argv[i]));
  if (sizes.empty()) sizes = {0.1, 0.25, 0.5, 1, 2.7, 4, 16};
  return dlt::run(sizes);
}
