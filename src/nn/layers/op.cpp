// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/text.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Any op of one input and one output by its name (docs/ops.md), those that a program adds
/// included.
class OpLayer final : public Layer {
 public:
  explicit OpLayer(std::string op) : op_(std::move(op)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    if (context.graph.ops().find(op_) == nullptr) {
      throw Error(Exit::config, cat("expected an op of one input, got '", printable(op_), "'"),
                  "docs/ops.md lists them");
    }
    return context.graph.add_one(op_, {x});
  }

 private:
  std::string op_;
};

}  // namespace

std::unique_ptr<Layer> make_op(config::MapReader& options) {
  return std::make_unique<OpLayer>(options.text("op"));
}

}  // namespace dlt::nn
