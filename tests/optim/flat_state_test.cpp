// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/error.h"
#include "optim/optimizer.h"

namespace dlt::optim {
namespace {

tensor::FlatLayout small_layout() {
  tensor::FlatLayout layout;
  layout.append("dense_2.weight", {3, 7});
  layout.append("dense_2.bias", {7});
  layout.append("dense_1.weight", {5});
  return layout;
}

std::vector<float> counted(const tensor::FlatLayout& layout) {
  std::vector<float> flat(static_cast<std::size_t>(layout.total), 0.0f);
  float next = 1;
  for (const auto& entry : layout.entries) {
    for (std::int64_t i = 0; i < entry.numel; ++i) {
      flat[static_cast<std::size_t>(entry.offset + i)] = next++;
    }
  }
  return flat;
}

/// The refusal of a state, after checking its exit code and that the buffer is untouched.
std::string refusal(const tensor::StateDict& state, const std::string& prefix) {
  const tensor::FlatLayout layout = small_layout();
  std::vector<float> flat = counted(layout);
  try {
    flatten(layout, prefix, state, flat.data());
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::data);
    EXPECT_EQ(flat, counted(layout));
    return error.what();
  }
  return "accepted";
}

/// A whole state that keeps its own memory.
tensor::StateDict owned_state(const std::string& prefix) {
  tensor::StateDict state;
  for (const auto& entry : small_layout().entries) {
    state.emplace(prefix + entry.name, tensor::Tensor(entry.shape, DType::f32));
  }
  return state;
}

TEST(FlatState, GoesThereAndBack) {
  const tensor::FlatLayout layout = small_layout();
  std::vector<float> flat = counted(layout);
  const tensor::StateDict state = unflatten(layout, "m", flat.data());
  ASSERT_EQ(state.size(), 3u);
  EXPECT_EQ(state.at("m.dense_2.weight").type(), (tensor::TensorType{{3, 7}, DType::f32}));
  EXPECT_EQ(state.at("m.dense_2.bias").as<float>()[0], 22.0f);
  std::vector<float> back(flat.size(), 0.0f);
  flatten(layout, "m", state, back.data());
  EXPECT_EQ(back, flat);
}

TEST(FlatState, ParametersHaveNoPrefix) {
  const tensor::FlatLayout layout = small_layout();
  std::vector<float> flat = counted(layout);
  const tensor::StateDict state = unflatten(layout, "", flat.data());
  EXPECT_TRUE(state.contains("dense_1.weight"));
  flatten(layout, "", state, flat.data());  // into the very memory the tensors lie in
  EXPECT_EQ(flat, counted(layout));
}

TEST(FlatState, LeavesTensorsOfOtherPrefixesAlone) {
  tensor::StateDict state = owned_state("m.");
  state.merge(owned_state("v."));
  EXPECT_EQ(refusal(state, "m"), "accepted");
}

TEST(FlatState, RefusesAMissingTensor) {
  tensor::StateDict state = owned_state("m.");
  state.erase("m.dense_2.bias");
  EXPECT_EQ(refusal(state, "m"), "tensor 'm.dense_2.bias': expected f32[7], got none of that name");
}

TEST(FlatState, RefusesAnUnexpectedTensor) {
  tensor::StateDict state = owned_state("");
  state.emplace("dense_9.weight", tensor::Tensor({1}, DType::f32));
  EXPECT_EQ(refusal(state, ""),
            "tensor 'dense_9.weight': unexpected, the model has no such parameter");
}

TEST(FlatState, RefusesAnotherShape) {
  tensor::StateDict state = owned_state("");
  state.at("dense_2.weight") = tensor::Tensor({7, 3}, DType::f32);
  EXPECT_EQ(refusal(state, ""), "tensor 'dense_2.weight': expected f32[3, 7], got f32[7, 3]");
}

TEST(FlatState, RefusesAnotherType) {
  tensor::StateDict state = owned_state("");
  state.at("dense_1.weight") = tensor::Tensor({5}, DType::f64);
  EXPECT_EQ(refusal(state, ""), "tensor 'dense_1.weight': expected f32[5], got f64[5]");
}

}  // namespace
}  // namespace dlt::optim
