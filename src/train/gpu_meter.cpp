// SPDX-License-Identifier: Apache-2.0
#include "train/gpu_meter.h"

#include "tensor/gpu_peak.h"

namespace dlt::train {
namespace {

tensor::PeakKind peak_kind(const std::string& precision) {
  if (precision == "f32") return tensor::PeakKind::f32;
  return precision == "tf32" ? tensor::PeakKind::tf32 : tensor::PeakKind::bits16;
}

}  // namespace

GpuMeter::GpuMeter(const GpuMeterOptions& options)
    : device_(&options.device), sensors_(options.gpu.uuid, options.library) {
  const auto peak = tensor::peak_flops(options.gpu.name, peak_kind(options.precision));
  if (peak && options.flops_per_sample > 0) {
    samples_per_s_at_peak_ = *peak * options.num_gpus / options.flops_per_sample;
  }
}

observe::Fields GpuMeter::read(double samples_per_s) const {
  observe::Fields out;
  if (samples_per_s_at_peak_) out.emplace_back("mfu", samples_per_s / *samples_per_s_at_peak_);
  const tensor::DeviceMemory memory = device_->memory();
  out.emplace_back("gpu_memory", memory.total_bytes - memory.free_bytes);
  const tensor::GpuReading reading = sensors_.read();
  if (reading.power_w) out.emplace_back("gpu_power_w", *reading.power_w);
  if (reading.utilization) out.emplace_back("gpu_util", *reading.utilization);
  return out;
}

}  // namespace dlt::train
