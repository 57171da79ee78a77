// SPDX-License-Identifier: Apache-2.0
#include "train/run_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "train/comm_options.h"

namespace dlt::train {
namespace {

using config::MapReader;

constexpr std::int64_t kMaxSteps = std::int64_t{1} << 40;
constexpr std::int64_t kMost_traced_steps = 1000;
constexpr std::int64_t kMaxLeaves = 65536;

void read_run(MapReader run, RunConfig& out) {
  out.name = run.text("name", std::string("run"));
  out.dir = run.text("dir", cat("runs/", out.name));
  out.seed = static_cast<std::uint64_t>(run.integer("seed", {.min = 0}, 0));
  if (out.dir.empty()) run.error("dir", "expected a folder name, got ''");
  if (out.name.find_first_of("/\n\r\t") != std::string::npos || out.name.empty()) {
    run.error("name", cat("expected a name without slashes, got '", printable(out.name), "'"));
  }
  run.finish();
}

void read_data(MapReader data, RunConfig& out) {
  out.train_data = read_source(data.map("train"), {.model = out.model.get(), .training = true});
  if (data.has("eval")) {
    out.eval_data = read_source(data.map("eval"), {.model = out.model.get(), .training = false});
  }
  if (data.has("augment")) {
    out.augment = read_augment(data.map("augment"), out.model.get(), out.loss.get());
  } else {
    (void)data.child("augment");
  }
  out.global_batch_size = data.integer("global_batch_size", {.min = 1, .max = 1048576});
  out.streams = data.boolean("streams", false);
  out.shuffle = data.boolean("shuffle", !out.streams);
  if (out.streams && out.shuffle) {
    data.error("shuffle", "expected false beside data.streams: true, got 'true'");
  }
  if (!out.streams && out.model != nullptr && !out.model->carried().empty()) {
    data.error("streams",
               cat("expected true: the model carries ", out.model->carried()[0].name,
                   " from step to step"),
               "so that each sample of a batch goes on where it stopped");
  }
  out.data_workers = data.integer_or_auto("workers", {.min = 0, .max = 256});
  out.skip_bad_samples = data.choice("on_bad", {"error", "skip"}, std::string("error")) == "skip";
  data.finish();
}

/// "512 MiB", "1.5GiB". errors  a mistake at the key
std::optional<std::int64_t> read_bytes(MapReader& map, const std::string& key) {
  if (!map.has(key)) {
    (void)map.child(key);  // legal, though absent
    return {};
  }
  static constexpr std::array<std::pair<std::string_view, double>, 4> kUnits{
      {{"MiB", 0x1p20}, {"GiB", 0x1p30}, {"MB", 1e6}, {"GB", 1e9}}};
  const std::string text = map.text(key);
  double number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit(end.ptr, static_cast<std::size_t>(text.data() + text.size() - end.ptr));
  unit.remove_prefix(std::min(unit.find_first_not_of(' '), unit.size()));
  for (const auto& [name, factor] : kUnits) {
    if (end.ec != std::errc() || unit != name || !(number > 0) || number * factor >= 0x1p62)
      continue;
    return static_cast<std::int64_t>(number * factor);
  }
  map.error(key, cat("expected a number with MiB, GiB, MB or GB, got '", printable(text), "'"),
            "such as 512MiB");
  return {};
}

}  // namespace

std::string precision_problem(const std::string& precision, const CpuFeatures& cpu) {
  if (precision != "bf16" || cpu.avx512_bf16) return "";
  return cat("expected a CPU with AVX-512 BF16, this one (", cpu.model, ") lacks avx512_bf16");
}

namespace {

void read_train(MapReader train, RunConfig& out) {
  if (train.has("epochs")) out.epochs = train.integer("epochs", {.min = 1, .max = kMaxSteps});
  if (train.has("steps")) out.steps = train.integer("steps", {.min = 1, .max = kMaxSteps});
  if (out.epochs && out.steps) {
    train.error("steps", "expected either train.epochs or train.steps, got both");
  } else if (!out.epochs && !out.steps) {
    (void)train.integer("epochs", {.min = 1, .max = kMaxSteps});  // records that it is missing
  }
  if (train.has("stop_at_step"))
    out.stop_at_step = train.integer("stop_at_step", {.min = 1, .max = kMaxSteps});
  const std::string device = train.choice("device", {"auto", "cpu", "cuda"}, std::string("auto"));
  out.device = device == "cpu" ? Device::cpu : device == "cuda" ? Device::cuda : Device::automatic;
  out.capture = train.boolean("capture", true);
  out.threads = train.integer_or_auto("threads", {.min = 1, .max = 1024});
  out.leaves = train.integer_or_auto("leaves", {.min = 1, .max = kMaxLeaves});
  out.precision = train.choice("precision", {"bf16", "bf16_emulated", "f32", "fp16", "tf32"},
                               std::string("f32"));
  const std::string problem = precision_problem(out.precision, cpu_features());
  if (!problem.empty() && out.device != Device::cuda) {
    train.error(
        "precision", problem,
        "bf16_emulated computes the same to rounding on any processor, more slowly; on a GPU "
        "set train.device: cuda");
  }
  if ((out.precision == "fp16" || out.precision == "tf32") && out.device != Device::cuda) {
    train.error("precision",
                cat("expected train.device: cuda for ", out.precision, ", got ", device),
                "a CPU has f32 and bf16");
  }
  out.reduction = train.choice("reduction", {"exact", "fast"}, std::string("exact")) == "fast"
                      ? ddp::Reduction::fast
                      : ddp::Reduction::exact;
  const std::string shard =
      train.choice("shard", {"gradients", "none", "optimizer"}, std::string("none"));
  out.shard = shard == "optimizer"   ? Sharding::optimizer
              : shard == "gradients" ? Sharding::gradients
                                     : Sharding::none;
  if (train.has("clip_norm"))
    out.clip_norm = train.number("clip_norm", {.min = 0, .min_open = true});
  out.memory_budget_bytes = read_bytes(train, "memory_budget");
  if (train.has("clip_value"))
    out.clip_value = train.number("clip_value", {.min = 0, .min_open = true});
  out.averaging = optim::read_averaging(train);
  out.init = read_initial_weights(train);
  out.freeze = optim::read_freeze(train);
  out.eval_every_epochs = train.integer("eval_every_epochs", {.min = 0, .max = kMaxSteps}, 1);
  if (out.leaves && out.global_batch_size > 0 && *out.leaves > out.global_batch_size) {
    train.error("leaves",
                cat("expected at most data.global_batch_size (", out.global_batch_size, "), got '",
                    *out.leaves, "'"),
                "a leaf holds at least one sample of each step");
  }
  train.finish();
}

void read_comm(MapReader comm, RunConfig& out) {
  out.comm_backend = comm.choice("backend", {"auto", "self", "mpi"}, std::string("auto"));
  const auto bucket_mb =
      comm.number_or_auto("bucket_mb", {.min = 0, .max = 65536, .min_open = true});
  if (bucket_mb)
    out.bucket_bytes = std::max<std::int64_t>(64, std::llround(*bucket_mb * 1048576.0));
  out.overlap = comm.boolean("overlap", true);
  const std::string shared =
      comm.choice("shared_memory", {"auto", "gradients", "off"}, std::string("auto"));
  out.shared_memory = shared != "off";
  out.shared_replica = shared == "auto";
  out.verify_every = comm.integer("verify_every", {.min = 0, .max = kMaxSteps}, 100);
  out.compression = read_compression(comm);
  out.sync_every = comm.integer("sync_every", {.min = 1, .max = kMaxSteps}, 1);
  out.balance = comm.boolean("balance", false);
  check_comm(comm, out);
  comm.finish();
}

/// What is followed must be among the values of the evaluations there are.
void check_best(MapReader& root, const RunConfig& out) {
  if (!out.checkpoint.best) return;
  if (!out.eval_data) {
    root.error("checkpoint", "expected data.eval beside checkpoint.best, got none",
               "the best checkpoint is that of the best evaluation");
    return;
  }
  std::vector<std::string> names{"loss"};
  for (const auto& metric : out.metrics) names.push_back(metric->name());
  if (std::find(names.begin(), names.end(), out.checkpoint.best->metric) != names.end()) return;
  root.error("checkpoint", cat("expected checkpoint.best.metric to be one of ", join(names),
                               ", got '", printable(out.checkpoint.best->metric), "'"));
}

void read_numerics_and_log(MapReader& root, RunConfig& out) {
  out.numerics = read_numerics(root.map("numerics"));
  MapReader log = root.map("log");
  out.log_every_steps = log.integer("every_steps", {.min = 1, .max = kMaxSteps}, 10);
  out.tensorboard = log.boolean("tensorboard", true);
  out.hashes = log.boolean("hashes", false);
  out.trace_steps = log.integer("trace_steps", {.min = 0, .max = kMost_traced_steps}, 0);
  log.finish();
}

/// Builds the graph once, so that a loss that does not fit the model is a mistake of the config.
void check_loss_fits(RunConfig& out, const autodiff::OpTable& table, const config::Mark& mark,
                     config::Diagnostics& diagnostics) {
  try {
    autodiff::Graph graph(table);
    out.target = out.loss->target(out.model->output_shape());
    (void)out.model->build_evaluation(graph, 2, *out.loss);
  } catch (const Error& error) {
    if (error.exit() != Exit::config) throw;
    diagnostics.error(mark, "loss", error.what(), error.hint());
  }
}

/// Labels: one for each row of a prediction's last axis. Numbers: those of a step of a sequence.
MetricContext metric_context(const RunConfig& config) {
  const tensor::Shape output = config.model->output_shape();
  const std::string loss = config.loss->name(), activation = config.model->final_activation();
  MetricContext out{.labels = config.target.labels(), .loss = loss};
  if (out.labels) {
    out.positions = output.rank() > 0 ? output.numel() / output.last() : 1;
  } else if (output.rank() > 1) {
    out.positions = output[0];
  }
  out.width = output.numel() / out.positions;
  out.probabilities = activation == "softmax" || activation == "sigmoid";
  const bool hinge = loss == "hinge" || loss == "squared_hinge";
  const bool logits = loss == "binary_cross_entropy" || loss == "binary_focal";
  if (hinge || (logits && !out.probabilities)) out.threshold = 0;
  out.likelihood = config.loss->is_log_likelihood();
  out.ignored = config.target.ignored;
  out.blank = config.target.blank;
  if (out.blank) out.max_labels = config.target.shape.numel();
  return out;
}

void read_model_and_loss(MapReader& root, const autodiff::OpTable& table, RunConfig& out) {
  config::Diagnostics& diagnostics = root.diagnostics();
  const config::Node* model = root.child("model");
  out.model = nn::Model::read(model, root.mark("model"), diagnostics, table);
  const config::Node* loss = root.child("loss");
  out.loss = nn::read_loss(loss, root.mark("loss"), diagnostics);
  const config::Node* metrics = root.child("metrics");
  if (out.model == nullptr || out.loss == nullptr) return;
  check_loss_fits(out, table, root.mark("loss"), diagnostics);
  const MetricContext context = metric_context(out);
  out.positions = context.positions;
  out.metrics = read_metrics(metrics, context, diagnostics);
}

/// The plateau schedule follows evaluations: there must be some, and they must give the value.
void check_plateau(MapReader& root, const RunConfig& out) {
  if (out.schedule.kind != optim::ScheduleKind::reduce_on_plateau) return;
  if (!out.eval_data || out.eval_every_epochs == 0) {
    root.error("schedule", "expected evaluations for reduce_on_plateau to follow, got none",
               "add data.eval, and a train.eval_every_epochs of at least 1");
    return;
  }
  std::vector<std::string> names{"loss"};
  for (const auto& metric : out.metrics) names.push_back(metric->name());
  const std::string& monitor = out.schedule.plateau.monitor;
  if (std::find(names.begin(), names.end(), monitor) != names.end()) return;
  root.error("schedule",
             cat("expected schedule.monitor to be one of ", join(names), ", got '",
                 printable(monitor), "'"),
             "the loss and what `metrics` lists can be followed");
}

void read_optimizer_and_schedule(MapReader& root, const tensor::Backend& backend, RunConfig& out) {
  config::Diagnostics& diagnostics = root.diagnostics();
  const config::Node* optimizer = root.child("optimizer");
  out.optimizer = optim::make_optimizer(optimizer, diagnostics, backend, root.mark("optimizer"));
  if (out.optimizer != nullptr && out.model != nullptr) {
    std::vector<std::string> trained;
    for (const nn::ParamSpec& spec : out.model->params()) {
      if (spec.kind == nn::ParamKind::trainable) trained.push_back(spec.name);
    }
    if (out.freeze) {
      std::vector<optim::ParamGroup> groups = out.optimizer->groups();
      groups.insert(groups.begin(), *out.freeze);
      out.optimizer->set_groups(std::move(groups));
    }
    optim::check_groups(out.optimizer->groups(), trained, diagnostics);
  }
  const config::Node* schedule = root.child("schedule");
  out.schedule = optim::read_schedule(schedule, root.mark("schedule"), diagnostics);
  check_plateau(root, out);
}

void flatten(const config::Node& node, const std::string& path, FlatConfig& out) {
  const auto at = [&](const std::string& key) { return path.empty() ? key : cat(path, ".", key); };
  switch (node.kind) {
    case config::Kind::map:
      for (const auto& entry : node.entries) flatten(entry.value, at(entry.key), out);
      break;
    case config::Kind::sequence:
      for (std::size_t i = 0; i < node.items.size(); ++i)
        flatten(node.items[i], at(std::to_string(i)), out);
      break;
    case config::Kind::scalar:
      out.emplace_back(path, node.scalar);
      break;
    case config::Kind::null:
      out.emplace_back(path, "null");
      break;
  }
}

/// Reads a whole tree; throws all mistakes at once.
RunConfig read_tree(const std::string& source, config::Node tree, config::Diagnostics& diagnostics,
                    const autodiff::OpTable& table, const tensor::Backend& backend) {
  RunConfig out;
  out.resolved = std::move(tree);
  diagnostics.throw_if_any();

  MapReader root(&out.resolved, "", {.source = source, .line = 1, .column = 1}, diagnostics);
  read_run(root.map("run"), out);
  read_model_and_loss(root, table, out);
  read_data(root.map("data"), out);
  read_train(root.map("train"), out);
  read_optimizer_and_schedule(root, backend, out);
  read_comm(root.map("comm"), out);
  out.checkpoint = read_checkpoint_options(root.map("checkpoint"));
  check_best(root, out);
  out.fault = config::read_fault(root.map("fault"));
  read_numerics_and_log(root, out);
  root.finish();
  diagnostics.throw_if_any();
  config::add_defaults(out.resolved, diagnostics);
  return out;
}

}  // namespace

FlatConfig flatten_config(const config::Node& tree) {
  FlatConfig out;
  flatten(tree, "", out);
  return out;
}

RunConfig read_run_config(const std::string& path, const std::vector<std::string>& overrides,
                          const autodiff::OpTable& table, const tensor::Backend& backend) {
  config::Diagnostics diagnostics;
  config::Node tree = config::load(path, overrides, diagnostics);
  return read_tree(path, std::move(tree), diagnostics, table, backend);
}

RunConfig run_config_of(const std::string& source, const std::string& text,
                        const autodiff::OpTable& table, const tensor::Backend& backend) {
  config::Diagnostics diagnostics;
  config::Node tree = config::parse(source, text, diagnostics);
  return read_tree(source, std::move(tree), diagnostics, table, backend);
}

bool may_change_on_resume(const std::string& key) {
  static constexpr std::array<std::string_view, 6> kFree{"log.trace_steps",    "train.capture",
                                                         "train.epochs",       "train.steps",
                                                         "train.stop_at_step", "train.shard"};
  for (const std::string_view free : kFree) {
    if (key == free) return true;
  }
  return false;
}

std::string config_fingerprint(const RunConfig& config) {
  Sha256 hash;
  FlatConfig values = flatten_config(config.resolved);
  std::sort(values.begin(), values.end());  // the order of keys in a file says nothing
  for (const auto& [key, value] : values) {
    if (!may_change_on_resume(key)) hash.update(cat(key, ": ", value, "\n"));
  }
  return hash.hex();
}

}  // namespace dlt::train
