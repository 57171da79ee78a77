// SPDX-License-Identifier: Apache-2.0
#include "weights/match.h"

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "support/temp_folder.h"

namespace dlt::weights {
namespace {

using tensor::Shape;
using tensor::Tensor;
using testing::ElementsAre;
using testing::HasSubstr;

class Memory final : public WeightsFile {
 public:
  explicit Memory(tensor::StateDict state) : state_(std::move(state)) {
    for (const auto& [name, tensor] : state_) types_.emplace(name, tensor.type());
  }
  const std::map<std::string, tensor::TensorType>& types() const override { return types_; }
  Tensor load(const std::string& name) const override { return state_.at(name); }

 private:
  tensor::StateDict state_;
  std::map<std::string, tensor::TensorType> types_;
};

template <typename T>
Tensor numbers(const Shape& shape, DType dtype, const std::vector<T>& values) {
  Tensor out(shape, dtype);
  std::memcpy(out.bytes(), values.data(), values.size() * sizeof(T));
  return out;
}

std::vector<float> floats_of(const Tensor& tensor) {
  const auto values = tensor.as<float>();
  return {values.begin(), values.end()};
}

TEST(Match, SaysWhatIsMissingUnusedAndOfAnotherShape) {
  const Memory file({{"a", Tensor({2}, DType::f32)},
                     {"b", Tensor({2}, DType::f32)},
                     {"c", Tensor({2}, DType::i32)},
                     {"d", Tensor({2}, DType::f32)}});
  const Match got = match_by_name(file, {{"a", {2}}, {"b", {3}}, {"c", {2}}, {"e", {1}}}, {});
  EXPECT_EQ(got.tensors.size(), 1u);
  EXPECT_EQ(got.tensors.count("a"), 1u);
  EXPECT_THAT(got.missing, ElementsAre("e"));
  EXPECT_THAT(got.differ,
              ElementsAre("b: expected [3], got f32[2]", "c: expected [2] of floats, got i32[2]"));
  EXPECT_THAT(got.unused, ElementsAre("d"));
}

TEST(Match, RoundsOtherFloatsToF32) {
  const Memory file({{"half", numbers<std::uint16_t>({1}, DType::f16, {0x3e00})},
                     {"brain", numbers<std::uint16_t>({1}, DType::bf16, {0x3fc0})},
                     {"wide", numbers<double>({1}, DType::f64, {1.5})}});
  const Match got = match_by_name(file, {{"half", {1}}, {"brain", {1}}, {"wide", {1}}}, {});
  for (const auto& [name, tensor] : got.tensors)
    EXPECT_THAT(floats_of(tensor), ElementsAre(1.5f)) << name;
  EXPECT_EQ(got.tensors.size(), 3u);
}

TEST(Match, TurnsPyTorchsLayout) {
  const Memory file({{"dense", numbers<float>({2, 3}, DType::f32, {1, 2, 3, 4, 5, 6})},
                     {"table", numbers<float>({2, 2}, DType::f32, {1, 2, 3, 4})},
                     {"conv", numbers<float>({2, 1, 2, 2}, DType::f32, {1, 2, 3, 4, 5, 6, 7, 8})}});
  const Match got =
      match_by_name(file, {{"dense", {3, 2}}, {"table", {2, 2}, true}, {"conv", {2, 2, 1, 2}}},
                    {.rename = {}, .layout = Layout::pytorch});
  EXPECT_THAT(floats_of(got.tensors.at("dense")), ElementsAre(1, 4, 2, 5, 3, 6));
  EXPECT_THAT(floats_of(got.tensors.at("table")), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(floats_of(got.tensors.at("conv")), ElementsAre(1, 5, 2, 6, 3, 7, 4, 8));
}

TEST(Match, RenamesWholeWordsBetweenDots) {
  const auto name = [](const std::string& text, const std::string& from, const std::string& to) {
    return renamed(text, {.rename = {{from, to}}});
  };
  EXPECT_EQ(name("encoder.fc.kernel", "kernel", "weight"), "encoder.fc.weight");
  EXPECT_EQ(name("encoder.fc.kernel", "encoder.fc", "dense_1"), "dense_1.kernel");
  EXPECT_EQ(name("encoder.fc.kernel", "encoder", ""), "fc.kernel");
  EXPECT_EQ(name("fc.kernel", "kernel", ""), "fc");
  EXPECT_EQ(name("myencoder.fc", "encoder", "x"), "myencoder.fc");
  EXPECT_EQ(name("fc1.fc.fc", "fc", "x"), "fc1.x.fc");
}

TEST(Match, RefusesTwoNamesThatBecomeOne) {
  const Memory file({{"a.w", Tensor({1}, DType::f32)}, {"b.w", Tensor({1}, DType::f32)}});
  EXPECT_THAT(dlt::test::error_of([&] {
                (void)match_by_name(file, {}, {.rename = {{"a", "b"}}});
              }),
              HasSubstr("65: tensors 'a.w' and 'b.w': both are called 'b.w'"));
}

}  // namespace
}  // namespace dlt::weights
