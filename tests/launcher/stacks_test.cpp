// SPDX-License-Identifier: Apache-2.0
#include "launcher/stacks.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/fs.h"
#include "support/temp_folder.h"

namespace dlt::launcher {
namespace {

int count(const std::string& text, std::string_view what) {
  int n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

/// Whatever the signal does, it must have done within 10 s.
std::string wait_for(const std::string& path) {
  for (int i = 0; i < 2000 && !exists(path); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return exists(path) ? read_file(path) : "";
}

TEST(Stacks, ShowEveryThreadAndDisturbNone) {
  const test::TempFolder temp;
  const std::string path = temp / "stack-00.txt";
  write_stacks_on_signal(path, "stacks of rank 0");
  std::mutex mutex;
  std::condition_variable changed;
  std::atomic<bool> done = false;
  std::atomic<long> turns = 0;
  std::thread busy([&] {
    while (!done) ++turns;
  });
  std::thread waiting([&] {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done.load(); });
  });
  pthread_setname_np(busy.native_handle(), "busy");
  pthread_setname_np(waiting.native_handle(), "waiting");
  for (int round = 0; round < 3; ++round) {
    ::kill(::getpid(), SIGUSR2);
    const std::string text = wait_for(path);
    EXPECT_EQ(text.substr(0, 17), "stacks of rank 0\n");
    EXPECT_EQ(count(text, "\nthread "), 3) << text;
    EXPECT_EQ(count(text, " (busy)\n"), 1) << text;
    EXPECT_EQ(count(text, " (waiting)\n"), 1) << text;
    EXPECT_EQ(count(text, "does not answer"), 0) << text;
    EXPECT_GE(count(text, "libc"), 2) << text;  // frames
    ::unlink(path.c_str());
  }
  const long before = turns;
  while (turns == before) std::this_thread::yield();
  {
    const std::lock_guard lock(mutex);
    done = true;
  }
  changed.notify_all();
  busy.join();
  waiting.join();
}

TEST(Stacks, NameAThreadThatDoesNotAnswer) {
  const test::TempFolder temp;
  const std::string path = temp / "stack-00.txt";
  write_stacks_on_signal(path, "stacks");
  std::atomic<bool> ready = false, done = false;
  std::thread deaf([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    ready = true;
    while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  while (!ready) std::this_thread::yield();
  ::kill(::getpid(), SIGUSR2);
  const std::string text = wait_for(path);
  EXPECT_EQ(count(text, "does not answer"), 1) << text;
  done = true;
  deaf.join();
}

TEST(Stacks, WithoutAPlaceTheSignalDoesNothing) {
  write_stacks_on_signal("", "");
  ::kill(::getpid(), SIGUSR2);
}

}  // namespace
}  // namespace dlt::launcher
