// SPDX-License-Identifier: Apache-2.0
// What a run measures about itself beside its steps.
#include "base/text.h"
#include "train/train_loop.h"

namespace dlt::train {

void TrainLoop::make_meter() {
  const Devices* devices = job_->around_.devices;
  if (!root() || devices == nullptr || devices->gpu() == nullptr) return;
  meter_ = std::make_unique<GpuMeter>(GpuMeterOptions{
      .gpu = *devices->gpu(),
      .device = *device_,
      .precision = job_->config_.precision,
      .flops_per_sample = static_cast<double>(train_program_->flops()) /
                          static_cast<double>(division_.leaf_capacity),
      .num_gpus =
          static_cast<double>(comm_->world_size()) / static_cast<double>(devices->ranks_on_gpu())});
}

void TrainLoop::make_tracer() {
  const TrainJob& job = *job_;
  if (job.config_.trace_steps == 0) return;
  tracer_ = std::make_unique<StepTracer>(StepTracerOptions{.dir = paths_.dir,
                                                           .rank = comm_->rank(),
                                                           .host = job.around_.host,
                                                           .first_step = step_,
                                                           .num_steps = job.config_.trace_steps,
                                                           .fs = job.around_.fs,
                                                           .clock = job.around_.clock},
                                         job.around_.pulse);
}

void TrainLoop::write_trace() {
  try {
    tracer_->write();
  } catch (const Error& error) {
    log_->line(cat("warning: no trace of rank ", comm_->rank(), ": ", error.what()));
  }
}

}  // namespace dlt::train
