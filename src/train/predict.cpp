// SPDX-License-Identifier: Apache-2.0
#include "train/predict.h"

#include "base/error.h"
#include "base/text.h"
#include "data/writer.h"
#include "ddp/replica.h"
#include "observe/json_object.h"
#include "train/evaluator.h"
#include "train/model_state.h"

namespace dlt::train {
namespace {

const DataSource& source_of(const RunConfig& config, const std::string& split) {
  if (split == "eval" && config.eval_data) return *config.eval_data;
  if (split == "train") return *config.train_data;
  if (split == "eval") {
    throw Error(Exit::config, "data.eval: expected a data set to evaluate on, got none",
                "add data.eval to the config, or use --split train");
  }
  throw Error(Exit::usage, cat("--split: expected eval or train, got '", printable(split), "'"));
}

/// Workers, program and parameters of a forward-only pass.
struct ForwardPass {
  ForwardPass(const Surroundings& around, const RunConfig& config,
              const checkpoint::Checkpoint& checkpoint, comm::Communicator& comm,
              std::unique_ptr<autodiff::Program> forward)
      : device(around.leaf_device(config)),
        division(divide(config, comm, around.host, comm.world_size(), device)),
        pool(division.threads),
        program(std::move(forward)),
        state(program->layout(), nullptr, around.backend),
        parts{.config = config,
              .program = *program,
              .backend = around.backend,
              .comm = comm,
              .pool = pool,
              .clock = around.clock,
              .host = around.host,
              .device = &device} {
    load_for_use(config, checkpoint, state);
  }
  tensor::Backend& device;
  Division division;
  ThreadPool pool;
  std::unique_ptr<autodiff::Program> program;
  ModelState state;
  TrainerParts parts;
};

}  // namespace

EvaluateJob::EvaluateJob(const Surroundings& surroundings, const EvaluateOptions& options)
    : around_(surroundings),
      options_(options),
      config_(read_run_config(options.config_path, options.overrides, surroundings.table,
                              surroundings.backend)),
      checkpoint_(checkpoint::load_any(options.checkpoint)),
      data_(open_dataset(config_, source_of(config_, options.split))) {}

std::string EvaluateJob::run(comm::Communicator& comm) {
  around_.backend.enter_thread();
  ForwardPass pass(
      around_, config_, checkpoint_, comm,
      evaluation_program(config_, around_.table, around_.leaf_device(config_), nullptr));
  Evaluator evaluator(pass.parts, *data_, pass.state.params(), evaluation_chunk(config_));
  observe::JsonObject json;
  json.set("split", options_.split);
  json.set("step", checkpoint_.step);
  json.set("rows", data_->num_rows());
  for (const auto& [name, value] : evaluator.evaluate()) json.set(name, value);
  for (const auto& [name, table] : evaluator.tables()) json.set(name, table);
  json.set("weights", config_.averaging.evaluates() ? config_.averaging.name() : "model");
  json.set("weights_hash", pass.state.weights_hash());
  return json.text(2) + "\n";
}

PredictJob::PredictJob(const Surroundings& surroundings, const PredictOptions& options)
    : around_(surroundings),
      options_(options),
      config_(read_run_config(options.config_path, options.overrides, surroundings.table,
                              surroundings.backend)),
      checkpoint_(checkpoint::load_any(options.checkpoint)) {
  DataSource source = config_.eval_data ? *config_.eval_data : *config_.train_data;
  source.file = options.input;
  if (!options.dataset.empty()) source.inputs = options.dataset;
  source.targets.clear();
  source.targets_are_next = false;
  data_ = open_dataset(config_, source);
}

std::string PredictJob::run(comm::Communicator& comm) {
  around_.backend.enter_thread();
  ForwardPass pass(around_, config_, checkpoint_, comm,
                   prediction_program(config_, around_.table, around_.leaf_device(config_)));
  const tensor::Shape shape = config_.model->output_shape();
  Evaluator evaluator(pass.parts, *data_, pass.state.params(), evaluation_chunk(config_));
  const std::vector<float> values = evaluator.predict(shape.numel());
  ddp::together(comm, around_.host, [&] {
    if (comm.rank() != 0) return;
    data::Hdf5Writer writer(options_.output);
    writer.write({.name = "/predictions",
                  .dtype = DType::f32,
                  .num_rows = data_->num_rows(),
                  .row_shape = shape},
                 values.data());
    writer.commit();
  });
  return cat("wrote ", data_->num_rows(), " predictions of shape ", shape.text(), " to ",
             options_.output, ":/predictions\n");
}

}  // namespace dlt::train
