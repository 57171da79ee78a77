// SPDX-License-Identifier: Apache-2.0
#include "launcher/connect.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include <unistd.h>

#include "base/text.h"
#include "launcher/failure.h"
#include "launcher/signals.h"

namespace dlt::launcher {
namespace {

/// How long a failed rank waits for its peers to fail as well.
constexpr std::chrono::milliseconds kFarewell{2500};

/// Ends the process by force unless it is destroyed within kFarewell: MPI_Finalize waits for all
/// ranks, and those that did not fail will not come.
class Farewell {
 public:
  Farewell(const Failure& failure, const RankEnv& ranks)
      : thread_([this, failure, ranks] {
          std::unique_lock lock(mutex_);
          if (changed_.wait_for(lock, kFarewell, [this] { return done_; })) return;
          if (!ranks.root()) print_failure(failure, ranks);
          _exit(static_cast<int>(failure.exit));
        }) {}
  ~Farewell() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Farewell(const Farewell&) = delete;
  Farewell& operator=(const Farewell&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;  // last: it uses the others
};

void require_same_ranks(const RankEnv& ranks, const comm::Communicator& comm) {
  const bool told = ranks.starter != Starter::none && ranks.world_size > 0;
  if (!told || (comm.world_size() == ranks.world_size && comm.rank() == ranks.rank)) return;
  throw Error(
      Exit::unavailable,
      cat("MPI: expected rank ", ranks.rank, " of ", ranks.world_size, " as ", name(ranks.starter),
          " started it, got rank ", comm.rank(), " of ", comm.world_size()),
      ranks.starter == Starter::slurm
          ? "srun --mpi=pmix, or mpirun inside the allocation"
          : cat("this program was built with ", comm::mpi_library_version(),
                ": start it by that library's mpirun"));
}

}  // namespace

Exit run_on_ranks(const Context& context, const std::string& backend,
                  const std::function<Exit(comm::Communicator&)>& body) {
  const RankEnv& ranks = context.ranks;
  if (backend == "self" && ranks.world_size != 1) {
    throw Error(
        Exit::config,
        cat("comm.backend: expected 'auto' or 'mpi' on ", ranks.world_size, " ranks, got 'self'"),
        "self is for one rank");
  }
  if (backend == "self" || (backend != "mpi" && ranks.starter == Starter::none)) {
    return body(*comm::make_self());
  }
  std::optional<Farewell> farewell;  // outlives the session
  comm::MpiSession session;
  const std::unique_ptr<comm::Communicator> comm = session.world();
  Failure failure;
  try {
    require_same_ranks(ranks, *comm);
    return body(*comm);
  } catch (...) {
    failure = current_failure();
  }
  context.dlrun.failed(failure);
  stop_watching();
  if (failure.exit == Exit::peer_lost) {
    print_failure(failure, ranks);
    comm->abort(static_cast<int>(failure.exit));
  }
  if (ranks.root()) print_failure(failure, ranks);
  farewell.emplace(failure, ranks);
  return failure.exit;
}

}  // namespace dlt::launcher
