// SPDX-License-Identifier: Apache-2.0
#include "launcher/control/frame.h"

#include <limits>

#include <gtest/gtest.h>

#include "launcher/control/bytes.h"
#include "launcher/control/control_support.h"

namespace dlt::launcher {
namespace {

using test::as_bytes;

constexpr Bytes32 kKey{std::byte{1}, std::byte{2}};
constexpr std::int64_t kGeneration = 4;

/// What a reader makes of these bytes.
template <typename Message>
struct Read {
  std::vector<Message> messages;
  Refusal refusal = Refusal::none;
};
template <typename Message = FromRank>
Read<Message> read(std::string_view bytes, std::size_t piece = 1 << 20) {
  FrameReader<Message> reader(kKey, kGeneration);
  Read<Message> out;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    reader.append(as_bytes(bytes.substr(at, piece)));
    while (std::optional<Message> message = reader.next()) out.messages.push_back(*message);
  }
  out.refusal = reader.refusal();
  return out;
}

/// A frame whose code fits, whatever it holds.
std::string forged(std::uint8_t type, std::string_view payload, std::uint64_t sequence = 0,
                   std::int64_t generation = kGeneration) {
  std::string out;
  put(out, static_cast<std::uint32_t>(payload.size()));
  put(out, type);
  out.append(3, '\0');
  put(out, sequence);
  put(out, generation);
  out += payload;
  const Bytes32 mac = hmac_sha256(kKey, as_bytes(out));
  return out.append(reinterpret_cast<const char*>(mac.data()), mac.size());
}

/// The payload of a message.
template <typename Message>
std::string payload_of(const Message& message) {
  const std::string frame = FrameWriter(kKey, kGeneration).frame(message);
  return frame.substr(kHeader_bytes, frame.size() - kHeader_bytes - kMac_bytes);
}

Hello hello() {
  return {
      .rank = 3, .world_size = 8, .local_rank = 1, .pid = 4711, .generation = 4, .host = "alpha"};
}
Beat beat() {
  Beat out{
      .mark = {.phase = observe::Phase::reduce, .step = 812, .bucket = 3, .leaf = 5, .row = 77},
      .mono_s = 12.5,
      .marks = 1LL << 40,
      .steps_per_save = 2};
  for (std::size_t i = 0; i < out.phase_s.size(); ++i)
    out.phase_s[i] = 0.5F * static_cast<float>(i);
  return out;
}

TEST(Frame, EveryMessageOfARankComesBack) {
  FrameWriter writer(kKey, kGeneration);
  std::string bytes = writer.frame(FromRank(hello()));
  bytes += writer.frame(FromRank(beat()));
  bytes += writer.frame(FromRank(Saved{.where = observe::SavedIn::memory, .step = 9}));
  bytes += writer.frame(FromRank(Failed{
      .exit = Exit::data, .origin_rank = 2, .text = "dltrain: error: Übermut\n  hint: x\n"}));
  bytes += writer.frame(FromRank(Bye{.exit = Exit::preempted}));
  for (const std::size_t piece : {1UL, 7UL, 4096UL}) {
    const Read<FromRank> got = read(bytes, piece);
    EXPECT_EQ(got.refusal, Refusal::none);
    ASSERT_EQ(got.messages.size(), 5U);
    const auto& h = std::get<Hello>(got.messages[0]);
    EXPECT_EQ(std::tie(h.rank, h.world_size, h.local_rank, h.pid, h.generation, h.host),
              std::make_tuple(3, 8, 1, 4711, 4, "alpha"));
    const auto& b = std::get<Beat>(got.messages[1]);
    EXPECT_EQ(b.mark.phase, observe::Phase::reduce);
    EXPECT_EQ(std::tie(b.mark.step, b.mark.bucket, b.mark.leaf, b.mark.row, b.mono_s, b.marks),
              std::make_tuple(812, 3, 5, 77, 12.5, 1LL << 40));
    EXPECT_EQ(b.steps_per_save, 2);
    EXPECT_EQ(b.phase_s, beat().phase_s);
    EXPECT_EQ(std::get<Saved>(got.messages[2]).where, observe::SavedIn::memory);
    EXPECT_EQ(std::get<Saved>(got.messages[2]).step, 9);
    const auto& f = std::get<Failed>(got.messages[3]);
    EXPECT_EQ(std::tie(f.exit, f.origin_rank), std::make_tuple(Exit::data, 2));
    EXPECT_EQ(f.text, "dltrain: error: Übermut\n  hint: x\n");
    EXPECT_EQ(std::get<Bye>(got.messages[4]).exit, Exit::preempted);
  }
}

TEST(Frame, EveryMessageOfDlrunComesBack) {
  FrameWriter writer(kKey, kGeneration);
  std::string bytes = writer.frame(FromLauncher(Alive{.silent_s = 1.25}));
  bytes += writer.frame(FromLauncher(Stop{.reason = Stop::Reason::more_hosts, .grace_s = 30}));
  const Read<FromLauncher> got = read<FromLauncher>(bytes);
  ASSERT_EQ(got.messages.size(), 2U);
  EXPECT_EQ(std::get<Alive>(got.messages[0]).silent_s, 1.25);
  EXPECT_EQ(std::get<Stop>(got.messages[1]).reason, Stop::Reason::more_hosts);
  EXPECT_EQ(std::get<Stop>(got.messages[1]).grace_s, 30);
}

TEST(Frame, LooksAsDocumented) {
  const std::string frame = FrameWriter(kKey, 0x0102).frame(FromRank(Bye{.exit = Exit::io}));
  const std::string head = std::string("\x01\0\0\0", 4) + "\x05" + std::string(3, '\0') +
                           std::string(8, '\0') + "\x02\x01" + std::string(6, '\0') + "\x4a";
  EXPECT_EQ(frame.substr(0, head.size()), head);
  EXPECT_EQ(frame.size(), head.size() + 32);
  EXPECT_EQ(as_bytes(frame.substr(head.size())).size(), hmac_sha256(kKey, as_bytes(head)).size());
}

TEST(Frame, RefusesAFrameThatCameBefore) {
  FrameWriter writer(kKey, kGeneration);
  const std::string first = writer.frame(FromRank(hello()));
  const std::string second = writer.frame(FromRank(beat()));
  EXPECT_EQ(read(first + first).refusal, Refusal::sequence);
  EXPECT_EQ(read(second).refusal, Refusal::sequence);
  EXPECT_EQ(read(first + second + first).messages.size(), 2U);
}

TEST(Frame, RefusesAnotherGeneration) {
  EXPECT_EQ(read(FrameWriter(kKey, 3).frame(FromRank(hello()))).refusal, Refusal::generation);
}

TEST(Frame, RefusesTheOtherDirection) {
  const std::string alive = FrameWriter(kKey, kGeneration).frame(FromLauncher(Alive{}));
  EXPECT_EQ(read(alive).refusal, Refusal::type);
  EXPECT_EQ(read(FrameWriter(Bytes32{}, kGeneration).frame(FromRank(hello()))).refusal,
            Refusal::mac);
}

TEST(Frame, RefusesEveryFlippedBit) {
  const std::string frame = FrameWriter(kKey, kGeneration).frame(FromRank(beat()));
  for (std::size_t bit = 0; bit < 8 * frame.size(); ++bit) {
    std::string bad = frame;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    const Read<FromRank> got = read(bad + std::string(kMax_frame_bytes, '\0'));
    EXPECT_TRUE(got.messages.empty()) << "bit " << bit;
    EXPECT_NE(got.refusal, Refusal::none) << "bit " << bit;
  }
}

TEST(Frame, RefusesALongFrameBeforeItIsThere) {
  std::string head;
  put(head, static_cast<std::uint32_t>(kMax_payload_bytes + 1));
  FrameReader<FromRank> reader(kKey, kGeneration);
  reader.append(as_bytes(head));
  EXPECT_FALSE(reader.next());
  EXPECT_EQ(reader.refusal(), Refusal::length);
  EXPECT_EQ(reader.num_buffered_bytes(), 0U);
  reader.append(as_bytes(std::string(1000, 'x')));  // takes nothing more
  EXPECT_EQ(reader.num_buffered_bytes(), 0U);
}

TEST(Frame, RefusesUnknownTypesAndWrongSizes) {
  const std::string good = payload_of(FromRank(beat()));
  EXPECT_EQ(read(forged(2, good)).refusal, Refusal::none);
  EXPECT_EQ(read(forged(0, good)).refusal, Refusal::type);
  EXPECT_EQ(read(forged(6, good)).refusal, Refusal::type);
  EXPECT_EQ(read(forged(255, good)).refusal, Refusal::type);
  EXPECT_EQ(read(forged(2, good.substr(1))).refusal, Refusal::content);
  EXPECT_EQ(read(forged(2, good + "x")).refusal, Refusal::content);
  EXPECT_EQ(read(forged(5, "")).refusal, Refusal::content);
}

TEST(Frame, RefusesNumbersThatCannotBe) {
  const auto refusal = [](auto change) {
    auto message = [] {
      if constexpr (std::is_invocable_v<decltype(change), Hello&>) {
        return hello();
      } else {
        return beat();
      }
    }();
    change(message);
    return read(FrameWriter(kKey, kGeneration).frame(FromRank(message))).refusal;
  };
  const auto hello_with = [&](const std::function<void(Hello&)>& change) {
    return refusal(change);
  };
  const auto beat_with = [&](const std::function<void(Beat&)>& change) { return refusal(change); };
  EXPECT_EQ(hello_with([](Hello& m) { m.world_size = 0; }),
            Refusal::none);  // not known to the rank
  EXPECT_EQ(hello_with([](Hello& m) { m.rank = -1; }), Refusal::content);
  EXPECT_EQ(hello_with([](Hello& m) { m.rank = 8; }), Refusal::content);
  EXPECT_EQ(hello_with([](Hello& m) { m.world_size = -1; }), Refusal::content);
  EXPECT_EQ(hello_with([](Hello& m) { m.local_rank = 8; }), Refusal::content);
  EXPECT_EQ(hello_with([](Hello& m) { m.pid = 0; }), Refusal::content);
  EXPECT_EQ(hello_with([](Hello& m) { m.generation = -1; }), Refusal::content);
  EXPECT_EQ(beat_with([](Beat& m) { m.mark.phase = static_cast<observe::Phase>(9); }),
            Refusal::content);
  EXPECT_EQ(beat_with([](Beat& m) { m.mark.step = -1; }), Refusal::content);
  EXPECT_EQ(beat_with([](Beat& m) { m.mark.bucket = -2; }), Refusal::content);
  EXPECT_EQ(beat_with([](Beat& m) { m.mark.leaf = -2; }), Refusal::content);
  EXPECT_EQ(beat_with([](Beat& m) { m.mark.row = -2; }), Refusal::content);
  EXPECT_EQ(beat_with([](Beat& m) { m.mono_s = -1; }), Refusal::content);
  EXPECT_EQ(beat_with([](Beat& m) { m.mono_s = std::numeric_limits<double>::quiet_NaN(); }),
            Refusal::content);
  EXPECT_EQ(beat_with([](Beat& m) { m.marks = -1; }), Refusal::content);
  EXPECT_EQ(beat_with([](Beat& m) { m.steps_per_save = -1; }), Refusal::content);
  EXPECT_EQ(beat_with([](Beat& m) { m.phase_s[8] = std::numeric_limits<float>::infinity(); }),
            Refusal::content);
}

TEST(Frame, RefusesHostsThatAreNone) {
  const std::string good = payload_of(FromRank(hello()));
  const auto with_host = [&](std::string_view host) {
    std::string payload = good.substr(0, 28);
    put(payload, static_cast<std::uint16_t>(host.size()));
    return read(forged(1, payload.append(host))).refusal;
  };
  EXPECT_EQ(with_host("alpha"), Refusal::none);
  EXPECT_EQ(with_host(std::string(255, 'a')), Refusal::none);
  EXPECT_EQ(with_host(std::string(256, 'a')), Refusal::content);
  EXPECT_EQ(with_host(""), Refusal::content);
  EXPECT_EQ(with_host("a b"), Refusal::content);
  EXPECT_EQ(with_host("a\x1b[2J"), Refusal::content);
  EXPECT_EQ(with_host("\xc3\xbc"), Refusal::content);
}

TEST(Frame, AnOddHostIsSentAsOneThatCanBe) {
  Hello odd = hello();
  odd.host = "a b\n";
  const Read<FromRank> got = read(FrameWriter(kKey, kGeneration).frame(FromRank(odd)));
  EXPECT_EQ(std::get<Hello>(got.messages.at(0)).host, "a?b?");
}

TEST(Frame, RefusesCodesAndReasonsThatAreNone) {
  EXPECT_EQ(read(forged(5, "\x4b")).refusal, Refusal::none);  // 75
  EXPECT_EQ(read(forged(5, "\x4f")).refusal, Refusal::content);
  EXPECT_EQ(read(forged(3, std::string("\x02\0\0\0\0\0\0\0\0", 9))).refusal, Refusal::content);
  EXPECT_EQ(read<FromLauncher>(forged(18, std::string("\x03\0\0\0\0\0\0\0\0", 9))).refusal,
            Refusal::content);
  std::string negative("\0", 1);
  put(negative, -1.0);
  EXPECT_EQ(read<FromLauncher>(forged(18, negative)).refusal, Refusal::content);
}

TEST(Frame, LongTextIsCutWhereACharacterEnds) {
  const std::string text = std::string(kMax_text_bytes - 1, 'a') + "ü";
  const Read<FromRank> got =
      read(FrameWriter(kKey, kGeneration).frame(FromRank(Failed{.text = text})));
  EXPECT_EQ(std::get<Failed>(got.messages.at(0)).text, std::string(kMax_text_bytes - 1, 'a'));
  std::string payload("\x46\xff\xff\xff\xff", 5);
  put(payload, static_cast<std::uint16_t>(kMax_text_bytes + 1));
  payload += std::string(kMax_text_bytes + 1, 'a');
  EXPECT_EQ(read(forged(4, payload)).refusal, Refusal::content);
}

TEST(Frame, TextCannotReachATerminalsControls) {
  const Read<FromRank> got = read(
      FrameWriter(kKey, kGeneration).frame(FromRank(Failed{.text = "a\x1b[2J\r\xff\xc2\x9b!\nü"})));
  EXPECT_EQ(std::get<Failed>(got.messages.at(0)).text, "a\\x1b[2J\\r\\xff\\x9b!\nü");
}

}  // namespace
}  // namespace dlt::launcher
