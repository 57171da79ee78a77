// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

constexpr std::int64_t kInferred = -1;

/// [B, ...] -> [B, shape...], row-major: the same memory. One size may be -1: what is left over.
class Reshape final : public Layer {
 public:
  /// known: product of the sizes other than -1, at least 1.
  Reshape(std::vector<std::int64_t> sizes, std::int64_t known)
      : sizes_(std::move(sizes)), known_(known) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    const tensor::Shape& input = context.graph.shape(x);
    const std::int64_t numel = input.without_front().numel();
    std::vector<std::int64_t> sizes = sizes_;
    const auto inferred = std::find(sizes.begin(), sizes.end(), kInferred);
    if (inferred != sizes.end()) {
      if (numel % known_ != 0) {
        refuse_input(context, x, cat("an input of a multiple of ", known_, " elements"),
                     cat("it is to become ", text()));
      }
      *inferred = numel / known_;
    } else if (numel != known_) {
      refuse_input(context, x, cat("an input of ", known_, " elements"),
                   cat("it is to become ", text()));
    }
    if (sizes[0] != input[1]) context.mask = {};  // other steps
    sizes.insert(sizes.begin(), input[0]);
    return context.graph.add_one("reshape", {x}, {{"shape", sizes}});
  }

 private:
  [[nodiscard]] std::string text() const {
    std::vector<std::string> words;
    for (const std::int64_t size : sizes_) words.push_back(std::to_string(size));
    return cat("[", join(words), "]");
  }

  std::vector<std::int64_t> sizes_;
  std::int64_t known_;
};

/// Records what is wrong with the sizes; returns the product of those that are not -1.
std::int64_t check_sizes(config::MapReader& options, const std::vector<std::int64_t>& sizes) {
  if (sizes.empty() || sizes.size() >= tensor::Shape::kMaxRank) {
    options.error("shape",
                  cat("expected 1 to ", tensor::Shape::kMaxRank - 1, " sizes, got ", sizes.size()));
    return 1;
  }
  if (std::count(sizes.begin(), sizes.end(), 0) > 0) {
    options.error("shape", "expected sizes of at least 1 (or one -1: what is left over), got '0'");
  }
  if (std::count(sizes.begin(), sizes.end(), kInferred) > 1) {
    options.error("shape", "expected one -1 at most, got several");
  }
  std::int64_t known = 1;
  for (const std::int64_t size : sizes) {
    if (size > 0 && known <= INT32_MAX) known *= size;
  }
  if (known > INT32_MAX) {
    options.error("shape", cat("expected ", INT32_MAX, " elements at most, got more"));
  }
  return known;
}

}  // namespace

std::unique_ptr<Layer> make_reshape(config::MapReader& options) {
  const std::size_t mistakes = options.diagnostics().size();
  std::vector<std::int64_t> sizes = options.integers("shape", {.min = kInferred, .max = INT32_MAX});
  std::int64_t known = 1;
  if (options.diagnostics().size() == mistakes) known = check_sizes(options, sizes);
  return std::make_unique<Reshape>(std::move(sizes), known);
}

}  // namespace dlt::nn
