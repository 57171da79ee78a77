// SPDX-License-Identifier: Apache-2.0
#include "dltrain/network.h"

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "checkpoint/store.h"
#include "comm/communicator.h"
#include "data/memory_dataset.h"
#include "ops/ops.h"
#include "train/engine.h"
#include "train/estimate.h"
#include "train/evaluator.h"
#include "train/model_state.h"
#include "train/run_config.h"
#include "train/trainer.h"

namespace dltrain {
namespace {

using dlt::cat;
using dlt::Error;
using dlt::Exit;
using dlt::train::RunConfig;

constexpr const char* kSource = "network";

dlt::autodiff::OpTable all_ops(const std::vector<dlt::autodiff::OpDef>& custom) {
  const dlt::autodiff::OpTable own = dlt::ops::make_op_table();
  std::vector<dlt::autodiff::OpDef> ops(own.all().begin(), own.all().end());
  for (const auto& op : custom) {
    if (own.find(op.name) != nullptr) {
      throw Error(Exit::config, cat("ops: expected a name of its own, got '", op.name, "'"),
                  "dltrain has an op of this name; docs/ops.md lists them");
    }
    ops.push_back(op);
  }
  return dlt::autodiff::OpTable(std::move(ops));
}

/// The config that a file would hold.
std::string config_text(const NetworkOptions& options) {
  const auto list = [](const auto& items) {
    std::string text;
    for (const auto& item : items) text += cat(text.empty() ? "" : ", ", item);
    return cat("[", text, "]");
  };
  return cat("run: {seed: ", options.seed, "}\nmodel:\n  input: ", list(options.input),
             "\n  layers: ", list_of(options.layers), "\nloss: ", options.loss,
             "\nmetrics: ", list(options.metrics), "\noptimizer: ", options.optimizer,
             "\nschedule: ", options.schedule, "\ntrain: {epochs: 1}\n",
             "data: {train: {file: memory, inputs: /x, targets: /y}, global_batch_size: 1}\n");
}

std::span<const std::byte> bytes_of(const auto& values) {
  return std::as_bytes(std::span(values.data(), values.size()));
}

Values as_map(const std::vector<std::pair<std::string, double>>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

struct Network::Impl {
  explicit Impl(const NetworkOptions& options)
      : backend(dlt::tensor::make_cpu_backend()),
        table(all_ops(options.ops)),
        comm(dlt::comm::make_self()),
        config(dlt::train::run_config_of(kSource, config_text(options), table, *backend)) {
    backend->enter_thread();
    program = dlt::train::training_program(config, table, *backend, 1);
    state = std::make_unique<dlt::train::ModelState>(program->layout(), config.optimizer.get(),
                                                     *backend);
    state->initialize(config.model->params(), config.seed);
  }

  [[nodiscard]] std::unique_ptr<dlt::data::Dataset> dataset(const Data& data, bool targets) const;
  [[nodiscard]] dlt::train::TrainerParts parts(const dlt::autodiff::Program& of,
                                               dlt::ThreadPool& pool) {
    return {.config = config,
            .program = of,
            .backend = *backend,
            .comm = *comm,
            .pool = pool,
            .clock = clock,
            .host = "localhost"};
  }

  std::unique_ptr<dlt::tensor::Backend> backend;
  dlt::autodiff::OpTable table;
  std::unique_ptr<dlt::comm::Communicator> comm;
  dlt::SystemClock clock;
  RunConfig config;
  std::unique_ptr<dlt::autodiff::Program> program;  // of one sample: the layout of the buffers
  std::unique_ptr<dlt::train::ModelState> state;
  std::int64_t epochs_done = 0, steps_done = 0;
};

std::unique_ptr<dlt::data::Dataset> Network::Impl::dataset(const Data& data, bool targets) const {
  const bool tokens = config.model->num_tokens() > 0;
  const std::span<const std::byte> inputs = tokens ? bytes_of(data.tokens) : bytes_of(data.inputs);
  const auto row = static_cast<std::size_t>(config.model->input_shape().numel()) * 4;
  if (inputs.empty() || inputs.size() % row != 0) {
    throw Error(Exit::data, cat(tokens ? "tokens" : "inputs", ": expected rows of ", row / 4,
                                " numbers, got ", inputs.size() / 4, " numbers"));
  }
  std::span<const std::byte> wanted;
  if (targets) {
    const bool labels = config.target.labels();
    wanted = labels ? bytes_of(data.labels) : bytes_of(data.targets);
    const std::size_t expected =
        inputs.size() / row * static_cast<std::size_t>(config.target.shape.numel());
    if (wanted.size() / 4 != expected) {
      throw Error(Exit::data,
                  cat(labels ? "labels" : "targets", ": expected ", expected, " numbers for ",
                      inputs.size() / row, " rows, got ", wanted.size() / 4));
    }
    for (std::size_t i = 0; labels && i < data.labels.size(); ++i) {
      const std::int32_t label = data.labels[i];
      if (label >= (config.target.allows_ignored ? -1 : 0) && label < config.target.num_classes) {
        continue;
      }
      throw Error(Exit::data, cat("labels: number ", i, " is ", label, ", expected 0 to ",
                                  config.target.num_classes - 1));
    }
  }
  for (std::size_t i = 0; tokens && i < data.tokens.size(); ++i) {
    if (data.tokens[i] >= 0 && data.tokens[i] < config.model->num_tokens()) continue;
    throw Error(Exit::data, cat("tokens: number ", i, " is ", data.tokens[i], ", expected 0 to ",
                                config.model->num_tokens() - 1));
  }
  return dlt::data::make_memory_dataset({.inputs = inputs,
                                         .targets = wanted,
                                         .input_shape = config.model->input_shape(),
                                         .target_shape = config.target.shape});
}

Network::Network(const NetworkOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Network::~Network() = default;
Network::Network(Network&&) noexcept = default;

Values Network::fit(const Data& data, const FitOptions& options) {
  Impl& impl = *impl_;
  const auto rows = impl.dataset(data, true);
  impl.config.global_batch_size = options.batch_size;
  impl.config.shuffle = options.shuffle;
  impl.config.threads =
      options.threads > 0 ? std::optional<std::int64_t>(options.threads) : std::nullopt;
  impl.config.leaves =
      options.leaves > 0 ? std::optional<std::int64_t>(options.leaves) : std::nullopt;
  const auto division = dlt::train::divide(impl.config, *impl.comm, "localhost", 0, *impl.backend);
  dlt::ThreadPool pool(division.num_workers);
  const auto program =
      dlt::train::training_program(impl.config, impl.table, *impl.backend, division.leaf_capacity);
  const std::int64_t per_epoch = dlt::train::steps_per_epoch(impl.config, rows->num_rows());
  const std::int64_t first = impl.epochs_done * per_epoch;
  const std::int64_t end = first + options.epochs * per_epoch;
  dlt::train::Trainer trainer(impl.parts(*program, pool), *rows, *impl.state,
                              {.num_leaves = division.num_leaves,
                               .first_step = first,
                               .end_step = end,
                               .total_steps = end});
  Values last;
  std::vector<double> sums(static_cast<std::size_t>(trainer.sum_layout().size()));
  for (std::int64_t epoch = 1; epoch <= options.epochs; ++epoch) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (std::int64_t step = 0; step < per_epoch; ++step) {
      const dlt::train::StepReport report = trainer.step({});
      if (!report.finite) {
        throw Error(Exit::numerics, cat("step ", report.step, ": the loss is not finite"),
                    "lower the learning rate");
      }
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += report.sums[i];
    }
    ++impl.epochs_done;
    impl.steps_done += per_epoch;
    last = as_map(trainer.sum_layout().values(sums));
    if (options.after_epoch && !options.after_epoch(impl.epochs_done, last)) break;
  }
  return last;
}

Values Network::evaluate(const Data& data) {
  Impl& impl = *impl_;
  const auto rows = impl.dataset(data, true);
  dlt::ThreadPool pool(1);
  const auto program =
      dlt::train::evaluation_program(impl.config, impl.table, *impl.backend, &impl.state->layout());
  dlt::train::Evaluator evaluator(impl.parts(*program, pool), *rows, impl.state->params(),
                                  dlt::train::evaluation_chunk(impl.config));
  return as_map(evaluator.evaluate());
}

std::vector<float> Network::predict(const Data& data) {
  Impl& impl = *impl_;
  const auto rows = impl.dataset(data, false);
  dlt::ThreadPool pool(1);
  const auto program =
      dlt::train::prediction_program(impl.config, impl.table, *impl.backend, &impl.state->layout());
  dlt::train::Evaluator evaluator(impl.parts(*program, pool), *rows, impl.state->params(),
                                  dlt::train::evaluation_chunk(impl.config));
  return evaluator.predict(impl.config.model->output_shape().numel());
}

std::string Network::summary() const { return dlt::train::model_table(*impl_->config.model); }

std::vector<std::int64_t> Network::output_shape() const {
  const auto dims = impl_->config.model->output_shape().dims();
  return {dims.begin(), dims.end()};
}

std::span<float> Network::parameter(const std::string& name) {
  const auto* entry = impl_->state->layout().find(name);
  if (entry == nullptr) {
    throw Error(Exit::usage, cat("expected a parameter, got '", dlt::printable(name), "'"),
                cat("there are: ", dlt::join(parameter_names())));
  }
  return {impl_->state->params() + entry->offset, static_cast<std::size_t>(entry->numel)};
}

std::vector<std::string> Network::parameter_names() const {
  std::vector<std::string> names;
  for (const auto& entry : impl_->state->layout().entries) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  return names;
}

void Network::save(const std::string& folder) const {
  dlt::checkpoint::Checkpoint checkpoint;
  checkpoint.step = impl_->steps_done;
  checkpoint.epoch = impl_->epochs_done;
  checkpoint.config_fingerprint = dlt::train::config_fingerprint(impl_->config);
  checkpoint.config_yaml = dlt::config::to_yaml(impl_->config.resolved);
  impl_->state->save(checkpoint);
  dlt::SystemFs fs;
  dlt::checkpoint::Store(fs, folder, 1).commit(checkpoint);
}

void Network::load(const std::string& folder) {
  const dlt::checkpoint::Checkpoint checkpoint = dlt::checkpoint::load_any(folder);
  impl_->state->load(checkpoint);
  impl_->steps_done = checkpoint.step;
  impl_->epochs_done = checkpoint.epoch;
}

std::string Network::weights_hash() const { return impl_->state->weights_hash(); }

}  // namespace dltrain
