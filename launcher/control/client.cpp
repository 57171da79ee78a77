// SPDX-License-Identifier: Apache-2.0
#include "launcher/control/client.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/text.h"
#include "launcher/control/frame.h"
#include "launcher/control/handshake.h"
#include "launcher/control/socket.h"

namespace dlt::launcher {
namespace {

using observe::Mark;
using observe::Phase;

constexpr double kTick_s = 0.1;       // between two looks of the client's thread
constexpr double kPause_s = 1;        // a longer gap between them: the process was stopped
constexpr double kBeat_gap_s = 0.05;  // between two beats, also where the step changed
constexpr double kDead_path_s = 1.5;  // owed an answer for so long, try another connection
constexpr double kConnect_s = 1;      // one try, before the handshake
constexpr double kFirst_back_off_s = 0.05, kLast_back_off_s = 0.8;
constexpr double kSteady_s = 1;  // a connection that lasts so long is a good one
constexpr double kLast_words_s = 0.5;
constexpr std::size_t kMax_unsent_bytes = 32768;

std::int64_t as_ns(double seconds) { return static_cast<std::int64_t>(seconds * 1e9); }

enum class Try : std::uint8_t {
  connected,
  refused,    // nobody is there, or it takes no such rank
  no_answer,  // from that host
  busy,       // the host is there; dlrun did not answer in time
  denied,     // it holds another token
  woken
};

}  // namespace

struct ControlClient::Impl {
  Impl(const ClientOptions& given, const Clock& its_clock, observe::FlightRing& its_ring,
       ClientEvents its)
      : options(given),
        clock(&its_clock),
        ring(&its_ring),
        events(std::move(its)),
        endpoint(look_up(given.address)),
        heartbeat_ns(as_ns(given.heartbeat_s)),
        cut_off_s(given.cut_off_s) {
    const std::optional<Bytes32> bytes = from_hex(options.token);
    if (!bytes) throw Error(Exit::denied, "control channel: expected a token of 64 hex digits");
    token = *bytes;
    const double now_s = clock->monotonic_s();
    heard_s = now_s;
    last_mark.store(stamp(as_ns(now_s), Phase::start));
    while (!connected()) {
      connect_again();
      if (std::optional<Error> reason = reason_to_end()) throw Error(*reason);
    }
    thread = std::thread([this] { run(); });
  }

  ~Impl() {
    quit.store(true);
    wake.set();
    if (thread.joinable()) thread.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // ---- any thread: marks and beats --------------------------------------------------------------

  static std::uint64_t stamp(std::int64_t time_ns, Phase phase) {
    return static_cast<std::uint64_t>(time_ns) << 4 | static_cast<std::uint64_t>(phase);
  }

  void mark(const Mark& mark) noexcept {
    const double now_s = clock->monotonic_s();
    const std::int64_t now_ns = as_ns(now_s);
    ring->mark(now_s, mark);
    num_marks.fetch_add(1, std::memory_order_relaxed);
    const std::uint64_t before =
        last_mark.exchange(stamp(now_ns, mark.phase), std::memory_order_relaxed);
    phase_ns[before & 15].fetch_add(now_ns - static_cast<std::int64_t>(before >> 4),
                                    std::memory_order_relaxed);
    const std::int64_t since_ns = now_ns - sent_ns.load(std::memory_order_relaxed);
    const std::int64_t gap_ns = heartbeat_ns.load(std::memory_order_relaxed);
    const bool next_step = mark.step != sent_step.load(std::memory_order_relaxed);
    // The first step tells dlrun from where the run goes on.
    const bool begins =
        mark.phase != Phase::start && static_cast<Phase>(before & 15) == Phase::start;
    if (!begins && since_ns < (next_step ? std::min(gap_ns, as_ns(kBeat_gap_s)) : gap_ns)) return;
    const std::unique_lock lock(sending, std::try_to_lock);
    if (lock.owns_lock()) beat(mark, now_s);
  }

  /// Holder of `sending`.
  void beat(const Mark& mark, double mono_s) noexcept {
    if (!writer || done || !push()) return;
    Beat message{.mark = mark,
                 .mono_s = mono_s,
                 .marks = num_marks.load(std::memory_order_relaxed),
                 .steps_per_save = steps_per_save.load(std::memory_order_relaxed)};
    for (std::size_t i = 0; i < message.phase_s.size(); ++i) {
      // Threads that mark at the same time may be some nanoseconds ahead of each other.
      const std::int64_t ns =
          std::max<std::int64_t>(0, phase_ns[i].load(std::memory_order_relaxed));
      message.phase_s[i] = static_cast<float>(static_cast<double>(ns) * 1e-9);
    }
    sent_ns.store(as_ns(mono_s), std::memory_order_relaxed);
    sent_step.store(mark.step, std::memory_order_relaxed);
    tell_saved();
    unsent += writer->frame(message);
    (void)push();
  }

  /// Holder of `sending`: gives the socket what it takes. True if nothing is left.
  bool push() noexcept {
    if (unsent.empty() || !socket.open()) return unsent.empty();
    const std::optional<std::size_t> sent = send_now(socket, unsent);
    if (sent) unsent.erase(0, *sent);  // a connection that is gone is noticed by reading
    return unsent.empty();
  }

  /// What must not be left out, unless nobody reads.
  void say(const FromRank& message) {
    const std::lock_guard lock(sending);
    if (!writer || done || unsent.size() > kMax_unsent_bytes) return;
    unsent += writer->frame(message);
    done = std::holds_alternative<Failed>(message) || std::holds_alternative<Bye>(message);
    (void)push();
  }

  /// Snapshots in memory may be made every step: their messages are as rare as beats.
  void saved(observe::SavedIn where, std::int64_t step) {
    const double now_s = clock->monotonic_s();
    ring->saved(now_s, where, step);
    const bool memory = where == observe::SavedIn::memory;
    const std::int64_t before = newest_saved[static_cast<std::size_t>(where)].exchange(step);
    if (memory && before >= 0 && step > before) steps_per_save.store(step - before);
    if (memory && as_ns(now_s) - saved_ns.load() < as_ns(kBeat_gap_s)) return;
    saved_ns.store(as_ns(now_s));
    const std::lock_guard lock(sending);
    tell_saved();
    (void)push();
  }

  /// Holder of `sending`.
  void tell_saved() {
    if (!writer || done || unsent.size() > kMax_unsent_bytes) return;
    for (const observe::SavedIn where : {observe::SavedIn::memory, observe::SavedIn::disk}) {
      const auto i = static_cast<std::size_t>(where);
      const std::int64_t step = newest_saved[i].load();
      if (step != std::exchange(told_saved[i], step)) {
        unsent += writer->frame(Saved{.where = where, .step = step});
      }
    }
  }

  /// Waits until the client's thread has seen dlrun take it.
  void last_words(const FromRank& message) {
    if (bye_said.exchange(true)) return;
    say(message);
    leaving.store(true);
    std::unique_lock lock(parting);
    wake.set();
    parted_changed.wait_for(lock, std::chrono::duration<double>(kLast_words_s),
                            [this] { return parted; });
  }

  // ---- the client's thread ----------------------------------------------------------------------

  void run() {
    while (!quit.load() && !parted_already()) {
      if (leaving.load()) {
        take_leave();
        continue;
      }
      if (connected()) {
        serve();
      } else {
        connect_again();
      }
      const std::optional<Error> reason =
          quit.load() || leaving.load() ? std::nullopt : reason_to_end();
      if (!reason) continue;
      ring->note(clock->monotonic_s(), reason->what());
      events.cut_off(*reason);
      return;
    }
  }

  bool connected() {
    const std::lock_guard lock(sending);
    return writer.has_value();
  }

  /// A wait that takes much longer than it was allowed to: the process stood still meanwhile, which
  /// counts for nothing.
  Waited doze(const Descriptor& of, For what, double seconds) {
    const double before_s = clock->monotonic_s();
    const Waited waited = wait(of, what, seconds, wake);
    excuse(before_s + seconds);
    if (waited == Waited::woken) wake.clear();
    return waited;
  }
  void excuse(double due_s) {
    const double pause_s = clock->monotonic_s() - due_s;
    if (pause_s < kPause_s) return;
    heard_s += pause_s;
    if (refused_since_s) *refused_since_s += pause_s;
  }

  std::optional<Error> reason_to_end() {
    const double now_s = clock->monotonic_s();
    const std::string dlrun = cat("control channel: dlrun at ", options.address);
    if (denied) {
      return Error(ever_connected ? Exit::peer_lost : Exit::denied,
                   cat(dlrun, " holds another token than this rank"),
                   "the rank was started by another dlrun, or DLRUN_TOKEN was changed");
    }
    if (refused_since_s && now_s - *refused_since_s >= options.gone_s) {
      return Error(Exit::peer_lost,
                   cat(dlrun, " is gone, or takes no rank of generation ", options.hello.generation,
                       "; this rank ends"),
                   "the same dlrun command goes on from the newest saved state");
    }
    if (now_s - heard_s >= cut_off_s.load()) {
      return Error(Exit::peer_lost,
                   cat(dlrun, ": nothing heard for ", static_cast<std::int64_t>(now_s - heard_s),
                       " s, longer than twice fault.hang_timeout_s; this rank ends"),
                   "the network between the hosts, or dlrun's host, is down");
    }
    return std::nullopt;
  }

  void serve() {
    const bool has_unsent = with_unsent();
    const Waited waited = doze(socket, has_unsent ? For::both : For::reading, kTick_s);
    if (waited == Waited::ready && !read()) return disconnect();
    if (!take_messages()) return disconnect();
    const double now_s = clock->monotonic_s();
    const std::optional<PathState> path = path_state(socket);
    if (path) {
      heard_s = std::max(heard_s, now_s - path->silent_s);
      if (path->owes && path->silent_s > kDead_path_s) return disconnect();
    }
    flush_newest(now_s);
    if (now_s - connected_s > kSteady_s) back_off_s = kFirst_back_off_s;
  }

  bool with_unsent() {
    const std::lock_guard lock(sending);
    tell_saved();
    return !push();
  }

  /// The mark behind which the loop went quiet, if mark() had no leave to send it.
  void flush_newest(double now_s) {
    const std::int64_t gap_ns = heartbeat_ns.load();
    if (as_ns(now_s) - sent_ns.load() < gap_ns + gap_ns / 4) return;
    const std::optional<observe::RingEvent> newest = ring->newest_mark();
    const std::lock_guard lock(sending);
    // Sent already? Ring times are rounded to a nanosecond.
    if (newest && as_ns(newest->mono_s) > sent_ns.load() + 1) beat(newest->mark, newest->mono_s);
  }

  /// False if the connection is gone.
  bool read() {
    std::array<std::byte, 4096> bytes;
    const std::optional<std::size_t> size = receive_now(socket, bytes);
    if (!size) return false;
    if (*size > 0) heard_s = clock->monotonic_s();
    reader->append(std::span(bytes).first(*size));
    return true;
  }

  /// False if dlrun, or who took its place, says what it cannot say.
  bool take_messages() {
    while (const std::optional<FromLauncher> message = reader->next()) {
      if (const Stop* stop = std::get_if<Stop>(&*message)) {
        ring->note(clock->monotonic_s(), "dlrun says stop");
        events.stop(*stop);
      }
    }
    return reader->refusal() == Refusal::none;
  }

  void disconnect() {
    ring->note(clock->monotonic_s(), "the connection to dlrun is lost");
    forget();
    if (clock->monotonic_s() - connected_s < kSteady_s)
      back_off();  // it takes us and throws us out
  }

  void forget() {
    const std::lock_guard lock(sending);
    socket.reset();
    writer.reset();
    reader.reset();
    unsent.clear();
  }

  /// The last words have been said: until dlrun has read it, that is, closes its end.
  void take_leave() {
    const double deadline_s = clock->monotonic_s() + kLast_words_s;
    bool ended = false;
    std::array<std::byte, 4096> bytes;
    wake.clear();
    while (socket.open() && clock->monotonic_s() < deadline_s && !quit.load()) {
      const bool has_unsent = with_unsent();
      if (!has_unsent && !std::exchange(ended, true)) end_sending(socket);
      (void)wait(socket, has_unsent ? For::both : For::reading, deadline_s - clock->monotonic_s(),
                 wake);
      const std::optional<std::size_t> size = receive_now(socket, bytes);
      if (!size) break;
    }
    const std::lock_guard lock(parting);
    parted = true;
    parted_changed.notify_all();
  }

  bool parted_already() {
    const std::lock_guard lock(parting);
    return parted;
  }

  // ---- connecting -------------------------------------------------------------------------------

  void connect_again() {
    const Try result = try_once();
    const double now_s = clock->monotonic_s();
    if (result != Try::refused) refused_since_s.reset();
    if (result == Try::connected || result == Try::busy) heard_s = now_s;
    if (result == Try::denied) denied = true;
    if (result == Try::refused && !refused_since_s) refused_since_s = now_s;
    if (result == Try::connected) {
      ever_connected = true;
      connected_s = now_s;
    } else {
      back_off();
    }
  }

  void back_off() {
    (void)doze({}, For::reading, back_off_s);
    back_off_s = std::min(2 * back_off_s, kLast_back_off_s);
  }

  Try try_once() {
    Descriptor fresh;
    const double due_s = clock->monotonic_s() + kConnect_s;
    const Connected result = connect(endpoint, kConnect_s, wake, fresh);
    excuse(due_s);
    if (result == Connected::refused) return Try::refused;
    if (result == Connected::no_answer) return Try::no_answer;
    Bytes32 nonce{};
    fill_random(nonce);
    ClientHandshake handshake(token, nonce,
                              {.rank = options.hello.rank, .generation = options.hello.generation});
    if (send_now(fresh, handshake.opening()) != handshake.opening().size()) return Try::no_answer;
    const double deadline_s = clock->monotonic_s() + options.handshake_s;
    std::optional<FrameReader<FromLauncher>> answers;
    while (true) {
      const double left_s = deadline_s - clock->monotonic_s();
      const Waited waited = left_s > 0 ? doze(fresh, For::reading, left_s) : Waited::timeout;
      if (waited == Waited::woken) return Try::woken;
      if (waited == Waited::timeout && left_s <= 0) return answered(fresh);
      if (waited == Waited::timeout) continue;
      std::array<std::byte, kChallenge_bytes> bytes;
      const std::optional<std::size_t> size = receive_now(fresh, bytes);
      if (!size) return Try::refused;  // closed before it said that this rank is welcome
      const std::span received = std::span(bytes).first(*size);
      if (answers) {
        answers->append(received);
        if (answers->next()) break;
        if (answers->refusal() != Refusal::none) return Try::refused;
        continue;
      }
      const std::string proof = handshake.receive(received);
      if (!proof.empty() && send_now(fresh, proof) != proof.size()) return Try::no_answer;
      if (handshake.refusal() == Refusal::token) return Try::denied;
      if (handshake.refusal() != Refusal::none) return Try::refused;
      if (handshake.done()) {
        answers.emplace(handshake.keys().to_rank, options.hello.generation);
      }
    }
    install(std::move(fresh), handshake.keys(), std::move(*answers));
    return Try::connected;
  }

  /// Whether that host still acknowledges what it is sent.
  static Try answered(const Descriptor& fresh) {
    const std::optional<PathState> path = path_state(fresh);
    return path && path->owes ? Try::no_answer : Try::busy;
  }

  void install(Descriptor fresh, const SessionKeys& keys, FrameReader<FromLauncher> answers) {
    const std::lock_guard lock(sending);
    socket = std::move(fresh);
    reader.emplace(std::move(answers));
    writer.emplace(keys.to_launcher, options.hello.generation);
    unsent = writer->frame(options.hello);
    told_saved = {-1, -1};
    tell_saved();
    (void)push();
  }

  ClientOptions options;
  const Clock* clock;
  observe::FlightRing* ring;
  ClientEvents events;
  Endpoint endpoint;
  Bytes32 token{};
  Wake wake;

  // Written by marks.
  std::atomic<std::int64_t> num_marks{0};
  std::atomic<std::uint64_t> last_mark{0};  // stamp()
  std::array<std::atomic<std::int64_t>, 16> phase_ns{};
  std::atomic<std::int64_t> sent_ns{0}, sent_step{-1};  // of the last beat
  std::atomic<std::int64_t> heartbeat_ns;
  std::atomic<double> cut_off_s;
  std::array<std::atomic<std::int64_t>, 2> newest_saved{-1, -1};  // by SavedIn
  std::atomic<std::int64_t> steps_per_save{0}, saved_ns{0};

  // Whoever sends. The client's thread alone changes socket and reader; it reads them without.
  std::mutex sending;
  Descriptor socket;
  std::optional<FrameWriter> writer;  // of an authenticated connection
  std::string unsent;
  std::array<std::int64_t, 2> told_saved{-1, -1};  // by SavedIn
  bool done = false;                               // nothing follows the last words

  // The client's thread alone (and the constructor before it).
  std::optional<FrameReader<FromLauncher>> reader;
  double heard_s = 0, connected_s = 0;
  std::optional<double> refused_since_s;
  double back_off_s = kFirst_back_off_s;
  bool denied = false;
  bool ever_connected = false;

  std::mutex parting;
  std::condition_variable parted_changed;
  bool parted = false;
  std::atomic<bool> bye_said{false}, leaving{false}, quit{false};
  std::thread thread;
};

ControlClient::ControlClient(const ClientOptions& options, const Clock& clock,
                             observe::FlightRing& ring, ClientEvents events)
    : impl_(std::make_unique<Impl>(options, clock, ring, std::move(events))) {}

ControlClient::~ControlClient() = default;

void ControlClient::set_times(double heartbeat_s, double cut_off_s) {
  impl_->heartbeat_ns.store(as_ns(heartbeat_s));
  impl_->cut_off_s.store(cut_off_s);
}

void ControlClient::mark(const Mark& mark) noexcept { impl_->mark(mark); }

void ControlClient::saved(observe::SavedIn where, std::int64_t step) noexcept {
  impl_->saved(where, step);
}

void ControlClient::failed(const Failed& failed) noexcept {
  impl_->ring->set_failure(failed.text);
  impl_->last_words(failed);
}

void ControlClient::bye(Exit exit) noexcept { impl_->last_words(Bye{.exit = exit}); }

}  // namespace dlt::launcher
