// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/injection.h"

#include <array>
#include <csignal>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temp_folder.h"

namespace dlt::supervise {
namespace {

/// A process that runs what a test gives it until it is killed.
class Victim {
 public:
  template <typename Body>
  explicit Victim(Body body) : pid_(::fork()) {
    if (pid_ == 0) {
      body();
      for (;;) ::pause();
    }
  }
  ~Victim() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;
  [[nodiscard]] RankProcess rank(int port = 0) const {
    return {.rank = 0, .pid = pid_, .control_port = port};
  }

 private:
  pid_t pid_;
};

TEST(Injection, KillAndStopAreSignals) {
  const Victim victim([] {});
  int status = 0;
  ASSERT_TRUE(inject(Injection::stop, victim.rank()));
  ASSERT_EQ(::waitpid(victim.rank().pid, &status, WUNTRACED), victim.rank().pid);
  EXPECT_TRUE(WIFSTOPPED(status));
  ASSERT_TRUE(inject(Injection::kill, victim.rank()));
  ASSERT_EQ(::waitpid(victim.rank().pid, &status, 0), victim.rank().pid);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST(Injection, ARankWithoutADiskMayWriteAgainLater) {
  const test::TempFolder folder;
  const std::string path = folder / "f";
  std::array<int, 2> orders{}, answers{};
  ASSERT_EQ(::pipe(orders.data()), 0);
  ASSERT_EQ(::pipe(answers.data()), 0);
  const Victim victim([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY, 0600);
    for (char order = 0; ::read(orders[0], &order, 1) == 1;) {
      const char good = ::pwrite(fd, "0123456789", 10, 4096) == 10 ? 1 : 0;
      if (::write(answers[1], &good, 1) != 1) return;
    }
  });
  const auto writes = [&] {
    char good = 2;
    if (::write(orders[1], "x", 1) != 1 || ::read(answers[0], &good, 1) != 1) return -1;
    return static_cast<int>(good);
  };
  EXPECT_EQ(writes(), 1);
  ASSERT_TRUE(inject(Injection::disk, victim.rank()));
  EXPECT_EQ(writes(), 0);
  withdraw(Injection::disk, victim.rank());
  EXPECT_EQ(writes(), 1);
}

TEST(Injection, NetCutsTheConnectionToTheControlPortAlone) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 4), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const Victim victim([&] {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    (void)::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  });
  const int accepted = ::accept(listener, nullptr, nullptr);
  ASSERT_GE(accepted, 0);
  const int port = ntohs(address.sin_port);
  EXPECT_FALSE(inject(Injection::net, victim.rank(port == 65535 ? 1 : port + 1)));
  if (!inject(Injection::net, victim.rank(port))) {
    GTEST_SKIP() << "descriptors of other processes are not to be had here (pidfd_getfd)";
  }
  char byte = 0;
  EXPECT_EQ(::recv(accepted, &byte, 1, 0), 0) << "expected the end of the connection";
  ::close(accepted);
  ::close(listener);
}

}  // namespace
}  // namespace dlt::supervise
