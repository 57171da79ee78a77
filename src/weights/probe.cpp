// SPDX-License-Identifier: Apache-2.0
#include "weights/probe.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt::weights {
namespace {

[[noreturn]] void act(const std::function<void()>& action) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM, SIGTERM}) {
    std::signal(signal, SIG_DFL);
  }
  const rlimit none{};
  (void)::setrlimit(RLIMIT_CORE, &none);
  ::alarm(kProbe_s);
  try {
    action();
  } catch (const std::exception&) {
  }
  ::_exit(0);
}

}  // namespace

void probe(const std::string& path, const std::function<void()>& action) {
  const pid_t child = ::fork();
  if (child == 0) act(action);
  if (child < 0) {
    const int code = errno;
    throw Error(Exit::io, cat(printable(path, 200), ": fork: ", std::strerror(code)));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return;  // somebody else waits for all children
  }
  if (!WIFSIGNALED(status)) return;
  const bool slow = WTERMSIG(status) == SIGALRM;
  throw Error(Exit::data, cat(printable(path, 200), ": the HDF5 file is damaged (reading it ",
                              slow ? cat("takes more than ", kProbe_s, " s")
                                   : cat("ends the process by signal ", WTERMSIG(status)),
                              ")"));
}

}  // namespace dlt::weights
