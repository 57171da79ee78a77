// SPDX-License-Identifier: Apache-2.0
// Models against PyTorch: every file of tests/golden/models holds a model, its parameters, one
// batch, and what PyTorch (in double precision) gets for prediction, loss and gradients. Written by
// make_models.py.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/text.h"
#include "checkpoint/safetensors.h"
#include "golden/device.h"
#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

constexpr double kTolerance = 1e-5;  // of the largest number of a tensor
constexpr const char* kFolder = "tests/golden/models";

std::vector<std::string> files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

checkpoint::Decoded load(const std::string& name) {
  const std::string path = cat(kFolder, "/", name, ".safetensors");
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  return checkpoint::decode(path, std::as_bytes(std::span(bytes.data(), bytes.size())));
}

std::vector<float> floats(const tensor::Tensor& tensor) {
  const auto values = tensor.as<float>();
  return {values.begin(), values.end()};
}

void expect_close(const std::vector<float>& got, const tensor::Tensor& wanted,
                  const std::string& what) {
  const auto want = wanted.as<float>();
  ASSERT_EQ(got.size(), want.size()) << what;
  double largest = 0, worst = 0;
  std::size_t place = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(want[i])));
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (!(error <= worst)) {  // NaN counts
      worst = error;
      place = i;
    }
  }
  EXPECT_LE(worst, kTolerance * std::max(largest, 1e-3))
      << what << wanted.shape().text() << " element " << place << ": got " << got[place]
      << ", PyTorch " << want[place];
}

class Golden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    device_ = golden_device();
    if (device_.backend == nullptr) GTEST_SKIP() << device_.why_not;
    file_ = load(GetParam());
    model_ = read_model(file_.metadata.at("model"));
    loss_ = read_loss_text(file_.metadata.at("loss"));
    ASSERT_NE(model_, nullptr);
    ASSERT_NE(loss_, nullptr);
    input_ = &file_.state.at("input");
    for (const auto& [name, tensor] : file_.state) {
      if (name.starts_with("param.")) params_.emplace_back(name.substr(6), &tensor);
    }
  }

  [[nodiscard]] std::int64_t batch() const { return input_->shape()[0]; }

  void set_up(GraphRun& run) const {
    EXPECT_EQ(run.layout().entries.size(), params_.size());
    for (const auto& [name, tensor] : params_) {
      const tensor::FlatLayout::Entry* entry = run.layout().find(name);
      ASSERT_NE(entry, nullptr) << name;
      EXPECT_EQ(entry->shape, tensor->shape()) << name;
      run.set(name, floats(*tensor));
    }
    run.bind("input", *input_);
  }

  test::DeviceUnderTest device_;
  checkpoint::Decoded file_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Loss> loss_;
  const tensor::Tensor* input_ = nullptr;
  std::vector<std::pair<std::string, const tensor::Tensor*>> params_;
};

TEST_P(Golden, TrainingEqualsPyTorch) {
  GraphRun run = training_run(*model_, batch(), *loss_, std::move(device_.backend));
  set_up(run);
  run.bind("target", file_.state.at("target"));
  run.bind("weight", file_.state.at("weight"));
  run.run();
  expect_close(run.output("prediction"), file_.state.at("prediction"), "prediction ");
  expect_close(run.output("loss"), file_.state.at("loss"), "loss ");
  for (const auto& param : params_) {
    const auto wanted = file_.state.find("grad." + param.first);
    if (wanted == file_.state.end()) continue;
    expect_close(run.gradient(param.first), wanted->second, "gradient of " + param.first + " ");
  }
}

TEST_P(Golden, InferenceEqualsPyTorch) {
  const auto wanted = file_.state.find("inference");
  GraphRun run = prediction_run(*model_, batch(), std::move(device_.backend));
  set_up(run);
  run.run();
  expect_close(run.output("prediction"),
               wanted == file_.state.end() ? file_.state.at("prediction") : wanted->second,
               "prediction ");
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, ::testing::ValuesIn(files()),
                         [](const auto& file) { return file.param; });

TEST(GoldenFiles, AreThere) { EXPECT_GE(files().size(), 10U); }

}  // namespace
}  // namespace dlt::nn
