// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"
#include "optim/groups.h"
#include "optim/shard.h"
#include "tensor/backend.h"
#include "tensor/flat_layout.h"
#include "tensor/tensor.h"

namespace dlt::optim {

class ScalarTable;

/// What an update needs beside the buffers. The gradient an optimiser works with is
///   clip(grad_scale·grad) + 2·l2·p + l1·sign(p)
/// where grad_scale is one over the step's sum of sample weights, times the norm clipping factor,
/// and clip keeps each element within ±clip_value.
struct UpdateArgs {
  float* params = nullptr;  // flat buffers, whole
  const float* grads = nullptr;
  std::int64_t begin = 0;  // range to update, multiples of 16 elements
  std::int64_t end = 0;
  std::int64_t state_shift = 0;  // element i of params is element i + state_shift of the states
  std::int64_t step = 0;         // counted from 0
  double learning_rate = 0;
  double grad_scale = 1;
  double clip_value = std::numeric_limits<double>::infinity();
  std::optional<double> weight_decay = {};  // instead of the optimiser's own
  double l1 = 0, l2 = 0;
  double trust_ratio = 1;          // of optimisers that adapts()
  tensor::Queue* queue = nullptr;  // of a device with memory of its own, where all buffers then are
  ScalarTable* scalars =
      nullptr;  // of that device: where kernels find their scalars; null: by value
};

/// Of one parameter.
struct ParamNorms {
  double param = 0;
  double update = 0;  // of what measure() documents
};

/// An optimiser over the flat buffers: one fused pass over a range, any range on any thread, since
/// it is element-wise. Its state is a few flat buffers of the parameters' size, named by
/// state_names(). Those that scale each parameter's step by its norms (adapts()) take two passes:
/// measure() over parts of one parameter, then update() with the ratio that trust_ratio() gives.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  [[nodiscard]] virtual std::vector<std::string> state_names() const = 0;
  /// Base learning rate, before the schedule.
  [[nodiscard]] virtual double learning_rate() const = 0;
  /// states[i] is the flat buffer of state_names()[i], zeros before step 0. Allocates nothing.
  virtual void update(const UpdateArgs& args, const std::vector<float*>& states) const = 0;

  [[nodiscard]] virtual bool adapts() const { return false; }
  /// sums[0] = Σ p², sums[1] = Σ update² over the range; may write states. Allocates nothing.
  virtual void measure(const UpdateArgs& args, const std::vector<float*>& states,
                       double* sums) const;
  [[nodiscard]] virtual double trust_ratio(const UpdateArgs& args, const ParamNorms& norms) const;

  [[nodiscard]] const std::vector<ParamGroup>& groups() const { return groups_; }
  void set_groups(std::vector<ParamGroup> groups) { groups_ = std::move(groups); }

 private:
  std::vector<ParamGroup> groups_;
};

/// Reads `optimizer:` {name, learning_rate, ..., groups}. Legal keys are those of the named
/// optimiser (docs/config.md has the table) and groups (groups.h). A plain word ("optimizer: adam")
/// is the name alone. Returns null after recording mistakes. parent is where a missing key is
/// reported; backend is used during the call only.
[[nodiscard]] std::unique_ptr<Optimizer> make_optimizer(const config::Node* node,
                                                        config::Diagnostics& diagnostics,
                                                        const tensor::Backend& backend,
                                                        const config::Mark& parent = {});
[[nodiscard]] std::vector<std::string> optimizer_names();

/// Flat state buffers <-> named tensors "m.dense_1.weight" of a checkpoint. The tensors of
/// unflatten() lie in flat and are valid as long as it is.
[[nodiscard]] tensor::StateDict unflatten(const tensor::FlatLayout& layout,
                                          const std::string& prefix, float* flat);
/// errors  Error(Exit::data) naming the first tensor that is missing, unexpected, or of another
/// shape or dtype;
///         (flat is then as it was). prefix "" is for parameters, where no other tensor may be;
///         another prefix looks at the tensors that begin with "prefix." alone
void flatten(const tensor::FlatLayout& layout, const std::string& prefix,
             const tensor::StateDict& state, float* flat);
/// Its checks alone.
void check_fits(const tensor::FlatLayout& layout, const std::string& prefix,
                const tensor::StateDict& state);
/// The same of a shard, into its packed buffer.
void flatten_shard(const tensor::FlatLayout& layout, const std::string& prefix,
                   const tensor::StateDict& state, const Shard& shard, float* packed);

}  // namespace dlt::optim
