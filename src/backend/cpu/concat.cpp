// SPDX-License-Identifier: Apache-2.0
// concat, slice along the last axis: rows of bytes.
#include <cstring>

#include "backend/cpu/routines.h"

namespace dlt::cpu {
namespace {

using tensor::KernelArgs;
using tensor::KernelSpec;
using tensor::TensorType;

std::size_t bytes_of_row(const TensorType& type) {
  return static_cast<std::size_t>(type.shape.last()) * size_bytes(type.dtype);
}

class Concat final : public tensor::Kernel {
 public:
  explicit Concat(const KernelSpec& spec)
      : rows_(static_cast<std::size_t>(spec.outputs[0].shape.rows())),
        stride_(bytes_of_row(spec.outputs[0])) {}
  void run(const KernelArgs& args) const override {
    auto* out = args.outputs[0].as<std::byte>();
    for (const tensor::View& input : args.inputs) {
      const std::size_t bytes = bytes_of_row(input.type);
      const auto* from = input.as<const std::byte>();
      for (std::size_t row = 0; row < rows_ && bytes > 0; ++row) {
        std::memcpy(out + row * stride_, from + row * bytes, bytes);
      }
      out += bytes;
    }
  }

 private:
  std::size_t rows_, stride_;
};

class Slice final : public tensor::Kernel {
 public:
  explicit Slice(const KernelSpec& spec)
      : rows_(static_cast<std::size_t>(spec.outputs[0].shape.rows())),
        stride_(bytes_of_row(spec.inputs[0])),
        bytes_(bytes_of_row(spec.outputs[0])),
        begin_(static_cast<std::size_t>(spec.attrs.integer("begin")) *
               size_bytes(spec.inputs[0].dtype)) {}
  void run(const KernelArgs& args) const override {
    const std::byte* from = args.inputs[0].as<const std::byte>() + begin_;
    auto* out = args.outputs[0].as<std::byte>();
    for (std::size_t row = 0; row < rows_ && bytes_ > 0; ++row) {
      std::memcpy(out + row * bytes_, from + row * stride_, bytes_);
    }
  }

 private:
  std::size_t rows_, stride_, bytes_, begin_;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_concat(const KernelSpec& spec, Isa /*isa*/) {
  if (spec.outputs[0].dtype != DType::f32) return nullptr;
  return std::make_unique<Concat>(spec);
}

std::unique_ptr<tensor::Kernel> make_slice(const KernelSpec& spec, Isa /*isa*/) {
  if (spec.outputs[0].dtype != DType::f32) return nullptr;
  return std::make_unique<Slice>(spec);
}

}  // namespace dlt::cpu
