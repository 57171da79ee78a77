// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/text.h"
#include "nn/layer_list.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Several lists of layers on one input, their results joined: concat along the last axis, or add,
/// mul element by element.
/// shapes  concat: all sizes but the last alike; else: all alike
/// source  Szegedy et al. 2015, "Going Deeper with Convolutions", for concat
class Branch final : public Layer {
 public:
  Branch(std::vector<LayerList> paths, std::string join)
      : paths_(std::move(paths)), join_(std::move(join)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    const BuildContext before = context;
    std::vector<autodiff::ValueId> ends;
    for (const LayerList& path : paths_) {
      BuildContext way = before;
      ends.push_back(build_layers(way, path, x));
      if (ends.size() == 1) context.mask = way.mask;
    }
    for (std::size_t i = 1; i < ends.size(); ++i) check(context, ends[0], ends[i], i);
    if (join_ == "concat") return context.graph.add_one("concat", ends);
    autodiff::ValueId y = ends[0];
    for (std::size_t i = 1; i < ends.size(); ++i) y = context.graph.add_one(join_, {y, ends[i]});
    return y;
  }

 private:
  void check(const BuildContext& context, autodiff::ValueId first, autodiff::ValueId other,
             std::size_t index) const {
    const tensor::Shape a = context.graph.shape(first).without_front();
    const tensor::Shape b = context.graph.shape(other).without_front();
    bool fits = a.rank() == b.rank();
    for (int axis = 0; fits && axis < a.rank(); ++axis) {
      fits = a[axis] == b[axis] || (join_ == "concat" && axis + 1 == a.rank());
    }
    if (fits) return;
    throw Error(Exit::config, cat("'", context.name, "': path 0 gives ", a.text(), ", path ", index,
                                  " ", b.text(), "; want ",
                                  join_ == "concat" ? "the same sizes but for the last, to concat"
                                                    : cat("the same shape, to ", join_)));
  }

  std::vector<LayerList> paths_;
  std::string join_;
};

}  // namespace

std::unique_ptr<Layer> make_branch(config::MapReader& options, LayerReader& reader) {
  std::vector<LayerList> paths;
  const std::string join = options.choice("join", {"add", "concat", "mul"}, std::string("concat"));
  const config::Node* list = options.child("paths");
  if (list == nullptr || list->kind != config::Kind::sequence || list->items.size() < 2) {
    options.error("paths", "expected a list of two or more lists of layers",
                  "paths: [[{dense: {units: 8}}], [{dense: {units: 8}}, relu]]");
  } else {
    for (std::size_t i = 0; i < list->items.size(); ++i) {
      paths.push_back(reader.read_items(list->items[i], cat(options.path(), ".paths.", i)));
    }
  }
  return std::make_unique<Branch>(std::move(paths), join);
}

}  // namespace dlt::nn
