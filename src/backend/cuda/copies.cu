// SPDX-License-Identifier: Apache-2.0
// concat and slice along the last axis, of any numbers of four bytes; pad2d and crop2d.
#include <cstdint>
#include <memory>

#include "backend/cuda/copy_rows.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "tensor/image_geometry.h"

namespace dlt::cuda {
namespace {

using tensor::FrameGeometry;
using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;

using Word = std::uint32_t;

class Concat final : public Kernel {
 public:
  void run(const KernelArgs& args) const override {
    const tensor::Shape& shape = args.outputs[0].type.shape;
    Word* out = args.outputs[0].as<Word>();
    for (const tensor::View& input : args.inputs) {
      const std::int64_t width = input.type.shape.last();
      copy_rows(out, shape.last(), input.as<const Word>(), width, shape.rows(), width,
                stream_of(args));
      out += width;
    }
  }
};

class Slice final : public Kernel {
 public:
  explicit Slice(const KernelSpec& spec) : begin_(spec.attrs.integer("begin")) {}
  void run(const KernelArgs& args) const override {
    const tensor::Shape& shape = args.outputs[0].type.shape;
    copy_rows(args.outputs[0].as<Word>(), shape.last(), args.inputs[0].as<const Word>() + begin_,
              args.inputs[0].type.shape.last(), shape.rows(), shape.last(), stream_of(args));
  }

 private:
  std::int64_t begin_;
};

/// The large image of one frame: zeros around the small one. Sizes are in words of T.
template <typename T>
struct Pad {
  T* large;
  const T* small;
  std::int64_t height, width, top, left;  // of the small image; a row is width words
  Divider by_large_width, by_large_height;

  __device__ void operator()(std::int64_t i) const {
    std::int64_t at = i;
    std::int64_t row = by_large_width.take(at);
    const std::int64_t image = by_large_height.take(row);
    row -= top;
    at -= left;
    const bool inside = row >= 0 && row < height && at >= 0 && at < width;
    large[i] = inside ? small[(image * height + row) * width + at] : T{};
  }
};

template <typename T>
struct Crop {
  const T* large;
  T* small;
  std::int64_t large_height, large_width, top, left;
  Divider by_width, by_height;

  __device__ void operator()(std::int64_t i) const {
    std::int64_t at = i;
    std::int64_t row = by_width.take(at);
    const std::int64_t image = by_height.take(row);
    small[i] = large[(image * large_height + row + top) * large_width + at + left];
  }
};

template <typename T>
void pad(const FrameGeometry& g, const KernelArgs& args) {
  constexpr std::int64_t kWords = sizeof(T) / sizeof(float);
  const std::int64_t pixel = g.channels;
  launch_elements(args.outputs[0].numel() / kWords,
                  Pad<T>{args.outputs[0].as<T>(), args.inputs[0].as<const T>(), g.height,
                         g.width * pixel / kWords, g.top, g.left * pixel / kWords,
                         Divider(g.large_width * pixel / kWords), Divider(g.large_height)},
                  stream_of(args));
}

template <typename T>
void crop(const FrameGeometry& g, const KernelArgs& args) {
  constexpr std::int64_t kWords = sizeof(T) / sizeof(float);
  const std::int64_t pixel = g.channels;
  launch_elements(args.outputs[0].numel() / kWords,
                  Crop<T>{args.inputs[0].as<const T>(), args.outputs[0].as<T>(), g.large_height,
                          g.large_width * pixel / kWords, g.top, g.left * pixel / kWords,
                          Divider(g.width * pixel / kWords), Divider(g.height)},
                  stream_of(args));
}

class PadKernel final : public Kernel {
 public:
  explicit PadKernel(const FrameGeometry& geometry) : geometry_(geometry) {}
  void run(const KernelArgs& args) const override {
    const bool fours = in_fours({args.inputs[0].data, args.outputs[0].data}, geometry_.channels);
    fours ? pad<uint4>(geometry_, args) : pad<Word>(geometry_, args);
  }

 private:
  FrameGeometry geometry_;
};

class CropKernel final : public Kernel {
 public:
  explicit CropKernel(const FrameGeometry& geometry) : geometry_(geometry) {}
  void run(const KernelArgs& args) const override {
    const bool fours = in_fours({args.inputs[0].data, args.outputs[0].data}, geometry_.channels);
    fours ? crop<uint4>(geometry_, args) : crop<Word>(geometry_, args);
  }

 private:
  FrameGeometry geometry_;
};

bool of_words(const KernelSpec& spec) { return size_bytes(spec.outputs[0].dtype) == sizeof(Word); }

}  // namespace

std::unique_ptr<Kernel> make_concat(const KernelSpec& spec, const DeviceLibraries&) {
  return of_words(spec) ? std::make_unique<Concat>() : nullptr;
}
std::unique_ptr<Kernel> make_slice(const KernelSpec& spec, const DeviceLibraries&) {
  return of_words(spec) ? std::make_unique<Slice>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_pad2d(const KernelSpec& spec, const DeviceLibraries&) {
  if (!floats_are_f32(spec)) return nullptr;
  return std::make_unique<PadKernel>(
      tensor::frame_geometry(spec.inputs[0].shape, spec.outputs[0].shape, spec.attrs));
}
std::unique_ptr<Kernel> make_crop2d(const KernelSpec& spec, const DeviceLibraries&) {
  if (!floats_are_f32(spec)) return nullptr;
  return std::make_unique<CropKernel>(
      tensor::frame_geometry(spec.outputs[0].shape, spec.inputs[0].shape, spec.attrs));
}

}  // namespace dlt::cuda
