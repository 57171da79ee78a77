// SPDX-License-Identifier: Apache-2.0
#include "tensor/gpu_peak.h"

#include <algorithm>
#include <array>

namespace dlt::tensor {
namespace {

struct Model {
  std::string_view name;     // how the driver's name begins
  double f32, tf32, bits16;  // teraFLOP/s
};

// A longer name stands before what it begins with. Data sheets give tensor cores' rates with
// sparsity: half of them is what dense products can reach.
constexpr std::array kModels = {
    Model{"NVIDIA A100", 19.5, 156, 312},
    Model{"NVIDIA A10", 31.2, 62.5, 125},
    Model{"NVIDIA A30", 10.3, 82, 165},
    Model{"NVIDIA A40", 37.4, 74.8, 149.7},
    Model{"NVIDIA B200", 75, 1125, 2250},
    Model{"NVIDIA GB200", 80, 1250, 2500},
    Model{"NVIDIA GH200", 67, 494.5, 989.5},
    Model{"NVIDIA GeForce RTX 3090", 35.6, 35.6, 71},
    Model{"NVIDIA GeForce RTX 4090", 82.6, 82.6, 165.2},
    Model{"NVIDIA H100 NVL", 60, 417.5, 835.5},
    Model{"NVIDIA H100 PCIe", 51, 378, 756},
    Model{"NVIDIA H100 80GB HBM3", 67, 494.5, 989.5},
    Model{"NVIDIA H200 NVL", 60, 417.5, 835.5},
    Model{"NVIDIA H200", 67, 494.5, 989.5},
    Model{"NVIDIA L40S", 91.6, 183, 362},
    Model{"NVIDIA L40", 90.5, 90.5, 181},
    Model{"NVIDIA L4", 30.3, 60, 121},
};

}  // namespace

std::optional<double> peak_flops(std::string_view gpu, PeakKind kind) {
  if (gpu.find("MIG") != std::string_view::npos) return std::nullopt;
  const auto found = std::find_if(kModels.begin(), kModels.end(), [&](const Model& model) {
    if (!gpu.starts_with(model.name)) return false;
    const std::string_view rest = gpu.substr(model.name.size());
    return rest.empty() || rest.front() == ' ' || rest.front() == '-';
  });
  if (found == kModels.end()) return std::nullopt;
  const double tera = kind == PeakKind::f32    ? found->f32
                      : kind == PeakKind::tf32 ? found->tf32
                                               : found->bits16;
  return tera * 1e12;
}

}  // namespace dlt::tensor
