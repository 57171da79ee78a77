// SPDX-License-Identifier: Apache-2.0
// Train and use a model from C++, with data in memory. Programs that only run a config need none of
// this: see `dltrain --help`.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "autodiff/op_def.h"
#include "dltrain/layers.h"

namespace dltrain {

/// Rows in memory, which must stay in place while they are used: numbers or token ids, and class
/// labels or numbers as targets (what the loss wants). The row count follows from the model's
/// input.
struct Data {
  std::span<const float> inputs = {};
  std::span<const std::int32_t> tokens = {};
  std::span<const std::int32_t> labels = {};
  std::span<const float> targets = {};
};

struct NetworkOptions {
  std::vector<std::int64_t> input;  // one sample, channels last: {28, 28, 1}
  std::vector<Layer> layers;
  std::string loss = "mse";  // YAML, as in a config
  std::string optimizer = "{name: adam, learning_rate: 0.001}";
  std::string schedule = "constant";
  std::vector<std::string> metrics = {};
  std::uint64_t seed = 0;
  std::vector<dlt::autodiff::OpDef> ops = {};  // custom ops, see dltrain/custom_op.h
};

using Values = std::map<std::string, double>;  // "loss", "accuracy", ...

struct FitOptions {
  std::int64_t epochs = 1;
  std::int64_t batch_size = 32;
  bool shuffle = true;
  int threads = 0;  // 0: one for each core that is worth it
  int leaves = 0;   // parts of a batch; 0: as many as threads. Equal leaves give equal bits
  /// Called after each epoch with its number (from 1) and training values; false stops.
  std::function<bool(std::int64_t epoch, const Values& values)> after_epoch = {};
};

/// A model with its weights. Weights and optimiser state stay between calls of fit().
/// errors  dlt::Error (base/error.h) with the messages a config would get; what() says all
class Network {
 public:
  explicit Network(const NetworkOptions& options);
  ~Network();
  Network(Network&&) noexcept;

  /// Trains and returns the values of the last epoch.
  Values fit(const Data& data, const FitOptions& options = {});
  /// Loss and metrics over all rows.
  [[nodiscard]] Values evaluate(const Data& data);
  /// Model outputs, row by row. data needs no labels or targets.
  [[nodiscard]] std::vector<float> predict(const Data& data);

  /// The model as `dltrain check` prints it.
  [[nodiscard]] std::string summary() const;
  [[nodiscard]] std::vector<std::int64_t> output_shape() const;  // of one sample
  /// A parameter by its name ("dense_1.weight"): a view that may be read and changed.
  [[nodiscard]] std::span<float> parameter(const std::string& name);
  [[nodiscard]] std::vector<std::string> parameter_names() const;
  /// Writes or reads a checkpoint folder such as `dltrain` has them; steps continue behind it.
  void save(const std::string& folder) const;
  void load(const std::string& folder);
  /// SHA-256 over names, shapes and bytes of the parameters.
  [[nodiscard]] std::string weights_hash() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dltrain
