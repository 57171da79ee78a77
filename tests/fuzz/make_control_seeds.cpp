// SPDX-License-Identifier: Apache-2.0
// Writes tests/fuzz/seeds/control: make_control_seeds DIR. To be run when the protocol changes.
#include <fstream>
#include <string>

#include "launcher/control/frame.h"
#include "launcher/control/handshake.h"

int main(int argc, char** argv) {
  using namespace dlt;
  using namespace dlt::launcher;
  if (argc != 2) return 64;
  constexpr Bytes32 kToken{std::byte{5}};
  const auto write = [&](const std::string& name, char reader, const std::string& bytes) {
    std::ofstream(std::string(argv[1]) + "/" + name, std::ios::binary) << reader << bytes;
  };
  const Hello hello{
      .rank = 3, .world_size = 8, .local_rank = 1, .pid = 77, .generation = 1, .host = "a"};
  const Beat beat{.mark = {.phase = observe::Phase::reduce, .step = 12, .bucket = 1},
                  .mono_s = 1.5,
                  .marks = 7};
  const Failed failed{.exit = Exit::data, .origin_rank = 2, .text = "dltrain: error: \xc3\xbc\n"};
  FrameWriter rank(kToken, 1);
  std::string all = rank.frame(FromRank(hello));
  all += rank.frame(FromRank(beat));
  all += rank.frame(FromRank(Saved{.step = 12}));
  all += rank.frame(FromRank(failed));
  all += rank.frame(FromRank(Bye{.exit = Exit::preempted}));
  FrameWriter launcher(kToken, 1);
  std::string answers = launcher.frame(FromLauncher(Alive{.silent_s = 2}));
  answers += launcher.frame(FromLauncher(Stop{.grace_s = 30}));
  write("rank", '\x00', all);
  write("rank_bytewise", '\x70', all);
  write("launcher", '\x01', answers);
  write("sealed_rank", '\x64', all);
  write("sealed_launcher", '\x67', answers);
  const auto one = [&](const FromRank& message) { return FrameWriter(kToken, 1).frame(message); };
  write("hello", '\x64', one(hello));
  write("beat", '\x65', one(beat));
  write("failed", '\x66', one(failed));
  write("saved", '\x64', one(Saved{.where = observe::SavedIn::memory, .step = 12}));
  ClientHandshake client(kToken, Bytes32{std::byte{6}}, {.rank = 3, .generation = 1});
  ServerHandshake server(Bytes32{std::byte{9}}, Bytes32{std::byte{1}});  // another token
  write("opening", '\x22', client.opening() + std::string(kProof_bytes, 'p'));
  write("challenge", '\x23', server.receive(std::as_bytes(std::span(client.opening()))));
  return 0;
}
