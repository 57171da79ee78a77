// SPDX-License-Identifier: Apache-2.0
// simple_rnn, lstm, gru: one layer with three cells.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/layer.h"

namespace dlt::nn {

/// What tells the three apart.
struct Cell {
  const char* op;
  std::int64_t gates;
  bool recurrent_bias;  // a second bias, within the recurrent product
};

struct RecurrentOptions {
  Cell cell{};
  std::int64_t units = 0;
  std::string activation;  // simple_rnn
  bool return_sequences = false;
  bool use_bias = true;
  bool unit_forget_bias = false;
  bool go_backwards = false;
  bool stateful = false;
  std::string merge;  // of two directions: concat, sum, mul, ave; empty: one direction
  Init kernel_init, recurrent_init, bias_init;
};

/// shapes  x [B, T, n]; y [B, T, units] with return_sequences, else the last state [B, units]; both
///         directions concatenated: 2 units
///         weight [n, gates · units], recurrent_weight [units, gates · units], bias [gates ·
///         units], gru also recurrent_bias; those of the second direction end in _reverse
class Recurrent final : public Layer {
 public:
  explicit Recurrent(RecurrentOptions options) : options_(std::move(options)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override;

  [[nodiscard]] bool bidirectional() const { return !options_.merge.empty(); }
  [[nodiscard]] bool plain() const {
    return !bidirectional() && !options_.go_backwards && !options_.stateful;
  }
  void set_bidirectional(const std::string& merge) { options_.merge = merge; }

 private:
  [[nodiscard]] autodiff::ValueId one_direction(BuildContext& context, autodiff::ValueId x,
                                                bool reverse, const std::string& suffix) const;
  void add_states(BuildContext& context, std::int64_t batch, std::vector<autodiff::ValueId>& inputs,
                  tensor::Attrs& attrs) const;
  [[nodiscard]] autodiff::ValueId bias(BuildContext& context, const std::string& name) const;
  [[nodiscard]] autodiff::ValueId input_product(BuildContext& context, autodiff::ValueId x,
                                                const std::string& suffix) const;

  RecurrentOptions options_;
};

[[nodiscard]] std::vector<std::string> merge_names();

}  // namespace dlt::nn
