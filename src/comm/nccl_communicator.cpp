// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl_communicator.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "base/background.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "comm/progress_board.h"

namespace dlt::comm {
namespace {

constexpr int kOldest = 21900;
constexpr int kLooks = 2000;  // before a waiting thread sleeps between looks
constexpr double kNap_s = 50e-6;
constexpr const char* kWaited = "waited ";

std::string describe(const char* call, NcclStatus status, const std::string& words) {
  return cat(call, " = ", static_cast<int>(status), " (", words, ")");
}

class NcclCommunicator final : public DeviceCommunicator {
 public:
  NcclCommunicator(Communicator& host, std::shared_ptr<NcclLibrary> library, NcclOptions options)
      : library_(std::move(library)),
        options_(std::move(options)),
        clock_(options_.clock != nullptr ? options_.clock : &system_clock_),
        rank_(host.rank()),
        world_size_(host.world_size()),
        board_(host) {}
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  /// "" once all ranks are there, else why not.
  [[nodiscard]] std::string init(const NcclId& id);

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int world_size() const override { return world_size_; }
  [[nodiscard]] std::string version() const override {
    return cat("NCCL ", nccl_version_text(library_->version()));
  }

  void allreduce(float* data, std::int64_t count, void* stream) override {
    if (count == 0) return;
    took("ncclAllReduce", library_->all_reduce(handle(), data, count, stream));
  }
  void allgather(const void* send, void* recv, std::int64_t num_bytes, void* stream) override {
    if (num_bytes == 0) return;
    took("ncclAllGather", library_->all_gather(handle(), send, recv, num_bytes, stream));
  }
  void reduce_scatter(const float* send, float* recv, std::int64_t count, void* stream) override {
    if (count == 0) return;
    took("ncclReduceScatter", library_->reduce_scatter(handle(), send, recv, count, stream));
  }
  void exchange(std::span<const Send> sends, std::span<const Receive> receives,
                void* stream) override {
    const auto empty = [](const auto& message) { return message.num_bytes == 0; };
    if (std::all_of(sends.begin(), sends.end(), empty) &&
        std::all_of(receives.begin(), receives.end(), empty)) {
      return;
    }
    took("ncclGroupEnd", library_->exchange(handle(), sends, receives, stream));
  }
  [[nodiscard]] std::unique_ptr<RegisteredBuffer> register_buffer(void* data,
                                                                  std::int64_t num_bytes) override;

  void post_step(std::int64_t step) override { board_.post(step); }
  void wait_until(const std::function<bool()>& done, const std::function<std::string()>& what,
                  double timeout_s) override;
  void check() override;
  void abort() noexcept override;

 private:
  class Registered;
  /// Shared with what was registered, which may outlive the communicator.
  struct Comm {
    NcclHandle handle = nullptr;
  };

  [[nodiscard]] NcclHandle handle() const;
  void took(const char* call, NcclStatus status);
  [[nodiscard]] bool look_until(const std::function<bool()>& done, double timeout_s) const;
  [[noreturn]] void fail(const std::string& text);
  void shut_down() noexcept;

  std::shared_ptr<NcclLibrary> library_;
  NcclOptions options_;
  SystemClock system_clock_;
  Clock* clock_;
  int rank_;
  int world_size_;
  ProgressBoard board_;
  std::shared_ptr<Comm> comm_ = std::make_shared<Comm>();
  int exceptions_ = std::uncaught_exceptions();
};

class NcclCommunicator::Registered final : public RegisteredBuffer {
 public:
  Registered(std::shared_ptr<NcclLibrary> library, std::shared_ptr<Comm> comm, void* buffer)
      : library_(std::move(library)), comm_(std::move(comm)), buffer_(buffer) {}
  ~Registered() override {
    if (comm_->handle != nullptr) (void)library_->deregister(comm_->handle, buffer_);
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;

 private:
  std::shared_ptr<NcclLibrary> library_;
  std::shared_ptr<Comm> comm_;
  void* buffer_;
};

NcclCommunicator::~NcclCommunicator() {
  if (std::uncaught_exceptions() > exceptions_) {
    abort();
  } else {
    shut_down();
  }
}

NcclHandle NcclCommunicator::handle() const {
  if (comm_->handle != nullptr) return comm_->handle;
  throw Error(Exit::peer_lost, cat("rank ", rank_, ": the GPUs' communicator has been aborted"));
}

/// False after the time.
bool NcclCommunicator::look_until(const std::function<bool()>& done, double timeout_s) const {
  for (int look = 0; look < kLooks; ++look) {
    if (done()) return true;
    std::this_thread::yield();
  }
  const double start_s = clock_->monotonic_s();
  while (!done()) {
    if (timeout_s > 0 && clock_->monotonic_s() - start_s >= timeout_s) return false;
    clock_->sleep_s(kNap_s);
  }
  return true;
}

std::string NcclCommunicator::init(const NcclId& id) {
  NcclStatus status = library_->init_rank(comm_->handle, world_size_, id, rank_);
  const bool came = look_until(
      [&] {
        if (status == NcclStatus::in_progress) status = library_->state(comm_->handle);
        return status != NcclStatus::in_progress;
      },
      options_.init_timeout_s);
  if (!came) {
    return cat(kWaited, options_.init_timeout_s, " s for the GPUs of all ranks");
  }
  if (status == NcclStatus::success) return "";
  return describe("ncclCommInitRankConfig", status, library_->text(status, comm_->handle));
}

/// The call has been made; it is in the stream once this returns.
void NcclCommunicator::took(const char* call, NcclStatus status) {
  const bool taken = look_until(
      [&] {
        if (status == NcclStatus::in_progress) status = library_->state(comm_->handle);
        return status != NcclStatus::in_progress;
      },
      options_.call_timeout_s);
  if (!taken) {
    fail(cat(kWaited, options_.call_timeout_s, " s for ", call, " to begin: ", board_.behind()));
  }
  if (status == NcclStatus::success) return;
  fail(describe(call, status, library_->text(status, comm_->handle)));
}

std::unique_ptr<RegisteredBuffer> NcclCommunicator::register_buffer(void* data,
                                                                    std::int64_t num_bytes) {
  void* buffer = nullptr;
  const NcclStatus status = library_->register_buffer(handle(), data, num_bytes, buffer);
  if (status != NcclStatus::success || buffer == nullptr) return nullptr;
  return std::make_unique<Registered>(library_, comm_, buffer);
}

void NcclCommunicator::check() {
  const NcclStatus status = library_->state(handle());
  if (status == NcclStatus::success || status == NcclStatus::in_progress) return;
  const std::string words = library_->text(status, comm_->handle);
  fail(cat(describe("ncclCommGetAsyncError", status, words), "; ", board_.behind()));
}

void NcclCommunicator::wait_until(const std::function<bool()>& done,
                                  const std::function<std::string()>& what, double timeout_s) {
  const auto look = [&] {
    if (done()) return true;
    check();
    return false;
  };
  if (look_until(look, timeout_s)) return;
  fail(cat(kWaited, timeout_s, " s for ", what(), ": ", board_.behind()));
}

void NcclCommunicator::fail(const std::string& text) {
  abort();
  throw Error(Exit::peer_lost, cat("rank ", rank_, ": ", text));
}

void NcclCommunicator::abort() noexcept {
  NcclHandle ended = std::exchange(comm_->handle, nullptr);
  if (ended == nullptr) return;
  try {
    Background background(0);
    background.start([library = library_, ended] { (void)library->abort(ended); });
    (void)background.wait(options_.abort_timeout_s);
  } catch (...) {  // no thread to be had: what is under way ends with the process
  }
}

/// Lets what is under way end, as far as peers let it.
void NcclCommunicator::shut_down() noexcept {
  NcclHandle ended = std::exchange(comm_->handle, nullptr);
  if (ended == nullptr) return;
  try {
    const auto stop = std::make_shared<std::atomic<bool>>(false);
    Background background(0);
    background.start([library = library_, ended, stop] {
      NcclStatus status = library->finalize(ended);
      SystemClock clock;
      while (status == NcclStatus::in_progress && !stop->load()) {
        clock.sleep_s(kNap_s);
        status = library->state(ended);
      }
      if (status == NcclStatus::success) {
        (void)library->destroy(ended);
      } else {
        (void)library->abort(ended);
      }
    });
    if (background.wait(options_.abort_timeout_s)) return;
    stop->store(true);
    (void)background.wait(options_.abort_timeout_s);
  } catch (...) {  // as in abort()
  }
}

/// What the ranks tell each other before they begin.
struct Introduction {
  std::string problem;  // why this rank cannot
  int version = 0;
  std::string gpu;
};

Introduction introduce(const NcclFound& found, const NcclOptions& options) {
  if (found.library == nullptr) return {.problem = found.why_not};
  const int version = found.library->version();
  if (version >= kOldest) return {.version = version, .gpu = options.gpu};
  return {.problem = cat("NCCL ", nccl_version_text(version), ", expected 2.19 or newer")};
}

/// "" if all can, else the same text on all ranks. Who only waited knows least.
std::string first_problem(const std::vector<std::string>& problems) {
  for (const bool waited : {false, true}) {
    for (std::size_t r = 0; r < problems.size(); ++r) {
      if (problems[r].empty() || problems[r].starts_with(kWaited) != waited) continue;
      return cat("rank ", r, ": ", problems[r]);
    }
  }
  return "";
}

std::string differing_versions(const std::vector<std::string>& versions) {
  for (std::size_t r = 1; r < versions.size(); ++r) {
    if (versions[r] == versions[0]) continue;
    return cat("rank 0 has NCCL ", nccl_version_text(std::stoi(versions[0])), ", rank ", r, " ",
               nccl_version_text(std::stoi(versions[r])), ": expected one version on all ranks");
  }
  return "";
}

std::string shared_gpu(const std::vector<std::string>& gpus) {
  for (std::size_t r = 0; r < gpus.size(); ++r) {
    for (std::size_t s = 0; s < r && !gpus[r].empty(); ++s) {
      if (gpus[s] == gpus[r]) return cat("; ranks ", s, " and ", r, " have one GPU, ", gpus[r]);
    }
  }
  return "";
}

/// The id that rank 0 makes, on all ranks; its failure in `problem` of rank 0, and an id of zeros.
NcclId agree_on_id(Communicator& host, NcclLibrary& library, std::string& problem) {
  NcclId id{};
  if (host.rank() == 0) {
    const NcclStatus status = library.get_unique_id(id);
    if (status != NcclStatus::success) {
      id = {};
      problem = describe("ncclGetUniqueId", status, library.text(status, nullptr));
    }
  }
  host.broadcast(id.data(), static_cast<std::int64_t>(id.size()), 0);
  return id;
}

}  // namespace

NcclStart start_nccl(Communicator& host, const NcclFound& found, const NcclOptions& options) {
  const Introduction mine = introduce(found, options);
  std::string why_not = first_problem(allgather_text(host, mine.problem));
  if (!why_not.empty()) return {.comm = nullptr, .why_not = why_not};
  why_not = differing_versions(allgather_text(host, cat(mine.version)));
  if (!why_not.empty()) return {.comm = nullptr, .why_not = why_not};
  const std::vector<std::string> gpus = allgather_text(host, mine.gpu);

  std::string problem;
  auto comm = std::make_unique<NcclCommunicator>(host, found.library, options);
  const NcclId id = agree_on_id(host, *found.library, problem);
  if (id != NcclId{}) problem = comm->init(id);
  why_not = first_problem(allgather_text(host, problem));
  if (why_not.empty()) return {.comm = std::move(comm), .why_not = ""};
  comm->abort();
  return {.comm = nullptr, .why_not = why_not + shared_gpu(gpus)};
}

}  // namespace dlt::comm
