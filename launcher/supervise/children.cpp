// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/children.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <map>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt::supervise {
namespace asio = boost::asio;
namespace {

using Failure = boost::system::error_code;
constexpr std::size_t kMaxOutput = std::size_t{4} << 20;
/// For the last text of a program that ended, if a process that it left holds the pipe.
constexpr std::chrono::milliseconds kLastText{200};

struct Pipe {
  Pipe() {
    if (pipe2(fds.data(), O_CLOEXEC) != 0)
      throw Error(Exit::unavailable, cat("pipe2: ", std::strerror(errno)));
  }
  ~Pipe() {
    for (const int fd : fds) {
      if (fd >= 0) close(fd);
    }
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  [[nodiscard]] int release_reader() { return std::exchange(fds[0], -1); }
  std::array<int, 2> fds{-1, -1};
};

/// A child whose text is read and whose end is awaited; done when both have come.
struct Child {
  Child(asio::io_context& context, int fd) : text(context, fd), patience(context) {}
  asio::posix::stream_descriptor text;
  asio::steady_timer patience;
  std::array<char, 16384> buffer{};
  std::function<void(std::string_view)> on_text;
  std::function<void(ProcessEnd)> on_end;
  bool is_command = false, text_ended = false, ended = false;
  ProcessEnd end;
};

}  // namespace

struct Children::Impl : std::enable_shared_from_this<Children::Impl> {
  explicit Impl(asio::io_context& io) : context(io), signals(io, SIGCHLD) {}

  void watch() {
    signals.async_wait([self = weak_from_this()](const Failure& failure, int) {
      const auto impl = self.lock();
      if (failure || !impl) return;
      impl->collect();
      impl->watch();
    });
  }

  void collect() {
    std::vector<pid_t> pids;
    for (const auto& [pid, child] : children) {
      if (!child->ended) pids.push_back(pid);
    }
    for (const pid_t pid : pids) {
      int status = 0;
      const pid_t got = waitpid(pid, &status, WNOHANG);
      if (got == 0) continue;
      const std::shared_ptr<Child> child = children.at(pid);
      child->ended = true;
      if (got == pid && WIFEXITED(status)) child->end.exit_code = WEXITSTATUS(status);
      if (got == pid && WIFSIGNALED(status)) child->end.signal = WTERMSIG(status);
      child->patience.expires_after(kLastText);
      child->patience.async_wait([self = weak_from_this(), pid](const Failure& failure) {
        const auto impl = self.lock();
        if (failure || !impl) return;
        impl->end_text(pid);
      });
      finish(pid);
    }
  }

  void end_text(pid_t pid) {
    const auto it = children.find(pid);
    if (it == children.end()) return;
    it->second->text_ended = true;
    finish(pid);
  }

  void finish(pid_t pid) {
    const auto it = children.find(pid);
    if (it == children.end() || !it->second->ended || !it->second->text_ended) return;
    const std::shared_ptr<Child> child = it->second;
    children.erase(it);
    child->patience.cancel();
    child->text.close();
    if (child->on_end) child->on_end(child->end);
  }

  void read(pid_t pid, const std::shared_ptr<Child>& child) {
    child->text.async_read_some(
        asio::buffer(child->buffer),
        [self = weak_from_this(), pid, child](const Failure& failure, std::size_t size) {
          const auto impl = self.lock();
          if (!impl || child->text_ended) return;
          if (failure) return impl->end_text(pid);
          child->on_text({child->buffer.data(), size});
          impl->read(pid, child);
        });
  }

  std::shared_ptr<Child> start(SpawnOptions options, int SpawnOptions::*stream, pid_t& pid) {
    Pipe pipe;
    options.*stream = pipe.fds[1];
    pid = spawn(options);
    auto child = std::make_shared<Child>(context, pipe.release_reader());
    children[pid] = child;
    return child;
  }

  [[nodiscard]] std::vector<pid_t> pids(bool commands) const {
    std::vector<pid_t> out;
    for (const auto& [pid, child] : children) {
      if (child->is_command == commands) out.push_back(pid);
    }
    return out;
  }

  asio::io_context& context;
  asio::signal_set signals;
  std::map<pid_t, std::shared_ptr<Child>> children;
};

Children::Children(asio::io_context& context) : impl_(std::make_shared<Impl>(context)) {
  impl_->watch();
}

Children::~Children() {
  for (const auto& [pid, child] : impl_->children) {
    if (child->ended) continue;
    kill(pid, SIGKILL);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

pid_t Children::start(const SpawnOptions& options, std::function<void(std::string_view)> text,
                      std::function<void(ProcessEnd)> ended) {
  pid_t pid = 0;
  const auto child = impl_->start(options, &SpawnOptions::stderr_fd, pid);
  child->on_text = std::move(text);
  child->on_end = std::move(ended);
  impl_->read(pid, child);
  return pid;
}

void Children::run(const std::vector<Words>& commands, double timeout_s,
                   std::function<void(const std::vector<CommandResult>&)> done) {
  struct Batch {
    explicit Batch(asio::io_context& context) : timer(context) {}
    std::vector<CommandResult> results;
    std::vector<pid_t> pids;
    std::size_t num_running = 0;
    asio::steady_timer timer;
    std::function<void(const std::vector<CommandResult>&)> done;
  };
  auto batch = std::make_shared<Batch>(impl_->context);
  batch->results.resize(commands.size());
  batch->pids.assign(commands.size(), 0);
  batch->done = std::move(done);
  for (std::size_t i = 0; i < commands.size(); ++i) {
    pid_t pid = 0;
    std::shared_ptr<Child> child;
    try {
      child = impl_->start({.words = commands[i], .env = {}}, &SpawnOptions::stdout_fd, pid);
    } catch (const Error& error) {
      batch->results[i].out = error.what();
      continue;
    }
    child->is_command = true;
    batch->pids[i] = pid;
    batch->results[i].started = true;
    ++batch->num_running;
    child->on_text = [batch, i](std::string_view text) {
      std::string& out = batch->results[i].out;
      out += text.substr(0, kMaxOutput - std::min(kMaxOutput, out.size()));
    };
    child->on_end = [batch, i](ProcessEnd end) {
      batch->results[i].end = end;
      batch->pids[i] = 0;
      if (--batch->num_running > 0) return;
      batch->timer.cancel();
      batch->done(batch->results);
    };
    impl_->read(pid, child);
  }
  if (batch->num_running == 0) {
    asio::post(impl_->context, [batch] { batch->done(batch->results); });
    return;
  }
  batch->timer.expires_after(std::chrono::microseconds(static_cast<std::int64_t>(timeout_s * 1e6)));
  batch->timer.async_wait([batch](const Failure& failure) {
    if (failure) return;
    for (std::size_t i = 0; i < batch->pids.size(); ++i) {
      if (batch->pids[i] == 0) continue;
      batch->results[i].timed_out = true;
      kill(-batch->pids[i], SIGKILL);  // a session of its own, so a group of its own
    }
  });
}

std::vector<pid_t> Children::commands() const { return impl_->pids(true); }
std::vector<pid_t> Children::programs() const { return impl_->pids(false); }

std::vector<CommandResult> run_commands(const std::vector<Words>& commands, double timeout_s) {
  asio::io_context context;
  Children children(context);
  std::vector<CommandResult> out;
  bool done = false;
  children.run(commands, timeout_s, [&](const std::vector<CommandResult>& results) {
    out = results;
    done = true;
  });
  while (!done) context.run_one();
  return out;
}

CommandResult run_command(const Words& words, double timeout_s) {
  return run_commands({words}, timeout_s).front();
}

}  // namespace dlt::supervise
