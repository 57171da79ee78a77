// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fs.h"
#include "checkpoint/samples.h"
#include "support/temp_folder.h"

namespace dlt::checkpoint::test {
namespace {

using dlt::test::error_of;
using testing::HasSubstr;

std::string flat(const Encoded& encoded) {
  std::string out;
  for (const auto& piece : encoded.pieces) {
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  return out;
}

std::string little_endian(std::uint64_t value) {
  std::string out(8, '\0');
  for (char& c : out) {
    c = static_cast<char>(value & 0xffu);
    value >>= 8;
  }
  return out;
}

/// A file with that header and so many bytes of data behind it.
std::string file(const std::string& json, std::size_t data_bytes = 0) {
  return little_endian(json.size()) + json + std::string(data_bytes, '\1');
}

Decoded decode_text(const std::string& bytes) {
  return decode("m.safetensors", std::as_bytes(std::span(bytes)));
}

TEST(Safetensors, WritesTheGoldenBytes) {
  tensor::StateDict state;
  state["b"] = make_tensor<std::int64_t>({}, DType::i64, {-2});
  state["a"] = make_tensor<float>({2}, DType::f32, {1, -2});
  const std::string header =
      R"({"__metadata__":{"format":"dltrain"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"I64","shape":[],"data_offsets":[8,16]}})";
  const std::string want = std::string("\xb8\0\0\0\0\0\0\0", 8) + header + std::string(41, ' ') +
                           std::string("\0\0\x80\x3f\0\0\0\xc0", 8) + "\xfe" +
                           std::string(7, '\xff');
  const Encoded got = encode(state, {{"format", "dltrain"}});
  EXPECT_EQ(flat(got), want);
  EXPECT_EQ(got.num_bytes, static_cast<std::int64_t>(want.size()));
}

TEST(Safetensors, ReadsBackWhatItWrote) {
  const Checkpoint sample = sample_checkpoint(17);
  for (const tensor::StateDict& state : {sample.model, sample.optimizer, tensor::StateDict{}}) {
    const Decoded got = decode_text(flat(encode(state, {{"k \"1\"", "\n\xc3\xbc"}})));
    EXPECT_TRUE(same(got.state, state));
    EXPECT_EQ(got.metadata, (Metadata{{"k \"1\"", "\n\xc3\xbc"}}));
  }
}

TEST(Safetensors, ReadsTensorsThatLieInAnotherOrderThanTheirNames) {
  const std::string bytes = file(
      R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}} )");
  const Decoded got = decode_text(bytes + std::string("\x05\x06\x07"));
  EXPECT_EQ(got.state.at("b").as<std::uint8_t>()[0], 5);
  EXPECT_EQ(got.state.at("a").as<std::uint8_t>()[1], 7);
  EXPECT_TRUE(got.metadata.empty());
}

TEST(Safetensors, CopiesNoTensorToEncodeIt) {
  const tensor::StateDict state = sample_model();
  const Encoded encoded = encode(state, {});
  ASSERT_EQ(encoded.pieces.size(), state.size() + 1);
  EXPECT_EQ(encoded.pieces[1].data(), state.begin()->second.bytes());
}

TEST(Safetensors, StartsItsDataAtAMultipleOf64) {
  for (int i = 0; i < 70; ++i) {
    const Encoded encoded = encode(sample_model(), {{"k", std::string(std::size_t(i), 'x')}});
    EXPECT_EQ(encoded.header.size() % 64, 0u) << i;
  }
}

TEST(Safetensors, RefusesToWriteNamesItWouldNotRead) {
  for (const std::string& name :
       {std::string("a/b"), std::string(".."), std::string(), std::string("a\nb"),
        std::string("__metadata__"), std::string("\xff")}) {
    tensor::StateDict state;
    state[name] = tensor::Tensor({1}, DType::f32);
    EXPECT_THAT(error_of([&] { (void)encode(state, {}); }), HasSubstr("78: safetensors: '"));
  }
}

struct Bad {
  const char* json;
  const char* message;
  std::size_t data_bytes = 8;
};

TEST(Safetensors, NamesTheDefectOfAHostileHeader) {
  const std::vector<Bad> cases{
      {R"()", "header is not JSON"},
      {R"([])", "want an object, got a list"},
      {R"(7)", "want an object, got a number"},
      {R"({"a":5})", "'a': unexpected a number"},
      {R"({"a":null})", "unexpected null"},
      {R"({"a":[]})", "unexpected a list"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}x)", "not JSON"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}{})", "not JSON"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]})", "not JSON"},
      {R"({"a":{"shape":[1],"data_offsets":[0,8]}})", "no key 'dtype'"},
      {R"({"a":{"dtype":"F64","data_offsets":[0,8]}})", "no key 'shape'"},
      {R"({"a":{"dtype":"F64","shape":[1]}})", "no key 'data_offsets'"},
      {R"({"a":{"dtype":"F64","dtype":"F64","shape":[1],"data_offsets":[0,8]}})",
       "duplicate key 'dtype'"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8],"x":1}})", "unknown key 'x'"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
       R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "'a': duplicate name"},
      {R"({"__metadata__":{},"__metadata__":{}})", "duplicate name", 0},
      {R"({"__metadata__":{"k":"1","k":"2"}})", "duplicate key", 0},
      {R"({"__metadata__":{"k":1}})", "'k': unexpected a number", 0},
      {R"({"__metadata__":{"k":{}}})", "unexpected an object", 0},
      {R"({"../a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "looks like a path"},
      {R"({"/etc":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "looks like a path"},
      {R"({"a\\b":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "looks like a path"},
      {R"({"..":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "looks like a path"},
      {R"({"":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "empty name"},
      {R"({"a\u0000":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "control character"},
      {R"({"a\u001b[2J":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", "'a\\x1b[2J'"},
      {R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", "unknown dtype 'F8_E4M3'"},
      {R"({"a":{"dtype":"F64","shape":1,"data_offsets":[0,8]}})", "'shape': unexpected a number"},
      {R"({"a":{"dtype":"F64","shape":[-1],"data_offsets":[0,8]}})", "a negative number"},
      {R"({"a":{"dtype":"F64","shape":[1.0],"data_offsets":[0,8]}})", "unexpected a fraction"},
      {R"({"a":{"dtype":"F64","shape":[[1]],"data_offsets":[0,8]}})", "unexpected a list"},
      {R"({"a":{"dtype":"F64","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,8]}})", "more than 8"},
      {R"({"a":{"dtype":"F64","shape":[18446744073709551615],"data_offsets":[0,8]}})", "too large"},
      {R"({"a":{"dtype":"F64","shape":[99999999999999999999],"data_offsets":[0,8]}})", "fraction"},
      {R"({"a":{"dtype":"F64","shape":[4294967296,4294967297],"data_offsets":[0,8]}})",
       "too many elements"},
      {R"({"a":{"dtype":"F64","shape":[0,9223372036854775807],"data_offsets":[0,0]}})",
       "too many elements", 0},
      {R"({"a":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}})",
       "data ends at 1099511627776"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0]}})", "want two numbers"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8,8]}})", "unexpected a number"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[8,0]}})", "data begins at 8"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,4]}})", "4 bytes", 4},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "8 bytes of data, want 4"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "4 bytes behind the last"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "leaves a hole"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
       "'b': data begins at 2, want 4 (overlaps"},
      {R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,16]}})", "data ends at 16"},
      {R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})", "4 bytes behind", 6}};
  for (const Bad& bad : cases) {
    const std::string got = error_of([&] { (void)decode_text(file(bad.json, bad.data_bytes)); });
    EXPECT_THAT(got, testing::StartsWith("65: m.safetensors: ")) << bad.json;
    EXPECT_THAT(got, HasSubstr(bad.message)) << bad.json;
  }
}

TEST(Safetensors, RefusesBooleansThatAreNeither) {
  const std::string json = R"({"a":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}})";
  EXPECT_EQ(error_of([&] { (void)decode_text(little_endian(json.size()) + json + "\1\1"); }),
            "no error");
  EXPECT_THAT(error_of([&] { (void)decode_text(little_endian(json.size()) + json + "\1\2"); }),
              HasSubstr("'a': BOOL that is neither 0 nor 1"));
}

TEST(Safetensors, RefusesAHeaderLongerThanTheFile) {
  for (const std::uint64_t length : {std::uint64_t{3}, ~std::uint64_t{0}, std::uint64_t{1} << 40}) {
    EXPECT_THAT(error_of([&] { (void)decode_text(little_endian(length) + "{}"); }),
                HasSubstr("header of " + std::to_string(length) + " bytes, want at most 2"));
  }
  EXPECT_THAT(error_of([] { (void)decode_text("\1\2\3"); }), HasSubstr("3 bytes, want at least 8"));
}

TEST(Safetensors, SurvivesDeepNesting) {
  const std::string lists(5'000'000, '[');
  EXPECT_THAT(error_of([&] { (void)decode_text(file("{\"a\":" + lists)); }),
              HasSubstr("unexpected a list"));
}

TEST(Safetensors, ThrowsNothingButErrorsOnMutatedBytes) {
  const std::string good = flat(encode(sample_model(), {{"format", "dltrain"}}));
  const std::vector<std::string> tokens{"{",  "}",   "[",    "]",     "\"",      ",",    ":",
                                        "-1", "1e9", "null", "9e999", "\\u0000", "\xff", "0"};
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  const auto below = [&random](std::size_t n) { return std::size_t{random()} % n; };
  int num_errors = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = good;
    for (std::size_t k = below(4) + 1; k > 0; --k) {
      // Mostly in the header: the data may hold anything.
      const std::size_t at = below(8) == 0 ? below(bytes.size()) : below(8 + 350);
      const std::size_t kind = below(5);
      if (at >= bytes.size()) continue;
      if (kind == 0) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
      if (kind == 1) bytes.insert(at, tokens[below(tokens.size())]);
      if (kind == 2) bytes.erase(at, below(10));
      if (kind == 3) bytes[at] = static_cast<char>('0' + below(10));
      if (kind == 4) bytes.insert(below(bytes.size()), bytes.substr(at, below(40)));
    }
    if (below(2) == 0 && bytes.size() > 8) {  // a length that fits the JSON again
      const std::size_t end = bytes.rfind('}');
      if (end != std::string::npos && end >= 8) bytes.replace(0, 8, little_endian(end - 7));
    }
    try {
      (void)decode_text(bytes);
    } catch (const Error& error) {
      ++num_errors;
      EXPECT_EQ(error.exit(), Exit::data) << "seed " << seed << ", case " << i;
    }  // anything else ends the test
  }
  EXPECT_GT(num_errors, 10000) << "seed " << seed;
}

TEST(WeightsHash, IsThatOfThePythonScript) { EXPECT_EQ(weights_hash(sample_model()), kSampleHash); }

TEST(WeightsHash, DependsOnNameShapeTypeAndBytes) {
  std::vector<std::string> hashes{kSampleHash};
  const auto add = [&hashes](auto change) {
    tensor::StateDict state = sample_model();
    change(state);
    hashes.push_back(weights_hash(state));
  };
  add([](auto& s) {
    s["dense_1.weight"] = make_tensor<float>({3, 2}, DType::f32, {0, .5, 1, 1.5, 2, 2.5});
  });
  add([](auto& s) { s["emb"] = make_tensor<std::uint16_t>({2}, DType::f16, {0x3f80, 0xc000}); });
  add([](auto& s) { s["count"] = make_tensor<std::int64_t>({}, DType::i64, {8}); });
  add([](auto& s) {
    s["counu"] = s["count"];
    s.erase("count");
  });
  std::sort(hashes.begin(), hashes.end());
  EXPECT_EQ(std::unique(hashes.begin(), hashes.end()), hashes.end());
}

}  // namespace
}  // namespace dlt::checkpoint::test
