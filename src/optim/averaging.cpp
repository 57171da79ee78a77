// SPDX-License-Identifier: Apache-2.0
#include "optim/averaging.h"

#include <array>

#include "base/text.h"
#include "config/node.h"

namespace dlt::optim {
namespace {

constexpr std::int64_t kLastStep = std::int64_t{1} << 40;

/// The kernel "average_update" for devices that have none. inputs params; outputs average;
/// scalars  weight
void average_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const auto weight = static_cast<float>(args.run.scalars[0]);
  const float* params = args.inputs[0].as<const float>();
  auto* average = args.outputs[0].as<float>();
  const std::int64_t count = args.outputs[0].numel();
  for (std::int64_t i = 0; i < count; ++i) {
    average[i] = weight == 1.0f ? params[i] : average[i] + weight * (params[i] - average[i]);
  }
}

Averaging read_ema(config::MapReader ema) {
  Averaging out{.kind = AverageKind::ema};
  out.decay = ema.number("decay", {.min = 0, .max = 1, .max_open = true}, out.decay);
  out.every_steps = ema.integer("update_every", {.min = 1, .max = kLastStep}, 1);
  out.start_step = ema.integer("start_step", {.min = 0, .max = kLastStep}, 0);
  out.use_for_eval = ema.boolean("use_for_eval", true);
  ema.finish();
  return out;
}

Averaging read_swa(config::MapReader swa) {
  Averaging out{.kind = AverageKind::swa};
  if (swa.has("start_epoch")) {
    out.start_epoch = swa.integer("start_epoch", {.min = 0, .max = kLastStep});
    if (swa.has("start_step")) {
      swa.error("start_step", "expected either start_epoch or start_step, got both");
    }
    (void)swa.child("start_step");
  } else {
    out.start_step = swa.integer("start_step", {.min = 0, .max = kLastStep});
    (void)swa.child("start_epoch");
  }
  out.every_steps = swa.integer("every_steps", {.min = 1, .max = kLastStep}, 1);
  out.use_for_eval = swa.boolean("use_for_eval", true);
  swa.finish();
  return out;
}

}  // namespace

Averaging Averaging::resolved(std::int64_t steps_per_epoch) const {
  Averaging out = *this;
  if (start_epoch) out.start_step = *start_epoch * steps_per_epoch;
  out.start_epoch.reset();
  return out;
}

std::int64_t Averaging::updates_after(std::int64_t steps_done) const {
  if (!active() || steps_done <= start_step) return 0;
  return (steps_done - start_step) / every_steps;
}

double Averaging::weight_at(std::int64_t step) const {
  const std::int64_t before = updates_after(step);
  if (updates_after(step + 1) == before) return 0.0;
  if (before == 0) return 1.0;
  return kind == AverageKind::ema ? 1.0 - decay : 1.0 / static_cast<double>(before + 1);
}

Averaging read_averaging(config::MapReader& train) {
  const bool has_ema = train.has("ema"), has_swa = train.has("swa");
  if (has_ema && has_swa) {
    train.error("swa", "expected either train.ema or train.swa, got both",
                "one average of the weights is kept");
  }
  Averaging out;
  if (has_swa) out = read_swa(train.map("swa"));
  if (has_ema) out = read_ema(train.map("ema"));
  (void)train.child("ema");
  (void)train.child("swa");
  return out;
}

AverageKernel::AverageKernel(const tensor::Backend& backend) {
  const tensor::Attrs attrs;
  const std::array<tensor::TensorType, 1> one{tensor::TensorType{tensor::Shape{1}, DType::f32}};
  if (const tensor::KernelFactory factory = backend.find("average_update")) {
    kernel_ = factory({.inputs = one, .outputs = one, .attrs = attrs});
  }
  if (kernel_ == nullptr) kernel_ = tensor::make_function_kernel(average_update_host, attrs);
}

void AverageKernel::run(const float* params, float* average, Range range, double weight,
                        tensor::Queue* queue) const {
  if (range.end <= range.begin || weight == 0) return;
  const tensor::TensorType type{tensor::Shape{range.end - range.begin}, DType::f32};
  const std::array<tensor::View, 1> inputs{
      tensor::View{const_cast<float*>(params) + range.begin, type}};
  const std::array<tensor::View, 1> outputs{tensor::View{average + range.begin, type}};
  tensor::RunContext run;
  run.scalars = std::span<const double>(&weight, 1);
  run.queue = queue;
  kernel_->run({.inputs = inputs, .outputs = outputs, .scratch = nullptr, .run = run});
}

}  // namespace dlt::optim
