// SPDX-License-Identifier: Apache-2.0
// Tensors that are in memory already: of a checkpoint, or of a safetensors file.
#include <span>
#include <utility>

#include "checkpoint/safetensors.h"
#include "checkpoint/store.h"
#include "weights/weights_file.h"

namespace dlt::weights {
namespace {

class LoadedFile final : public WeightsFile {
 public:
  explicit LoadedFile(tensor::StateDict state) : state_(std::move(state)) {
    for (const auto& [name, tensor] : state_) types_.emplace(name, tensor.type());
  }
  [[nodiscard]] const std::map<std::string, tensor::TensorType>& types() const override {
    return types_;
  }
  [[nodiscard]] tensor::Tensor load(const std::string& name) const override {
    return state_.at(name);
  }

 private:
  tensor::StateDict state_;
  std::map<std::string, tensor::TensorType> types_;
};

}  // namespace

std::unique_ptr<WeightsFile> open_checkpoint(const std::string& path) {
  return std::make_unique<LoadedFile>(checkpoint::load_any(path).model);
}

std::unique_ptr<WeightsFile> read_safetensors(const std::string& source, const std::string& bytes) {
  return std::make_unique<LoadedFile>(
      checkpoint::decode(source, std::as_bytes(std::span(bytes))).state);
}

}  // namespace dlt::weights
