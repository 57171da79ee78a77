// SPDX-License-Identifier: Apache-2.0
// What each line of kernels.def stands for: routines in both instruction sets, and factories.
#pragma once

#include <cstdint>
#include <memory>

#include "backend/cpu/call.h"
#include "tensor/kernel.h"

namespace dlt::cpu {

enum class Isa : std::uint8_t { avx2, avx512 };

#define DLT_FACTORY(name)
#define DLT_KERNEL(name, form) void run_##name(const Call& call);
namespace avx2 {
#include "backend/cpu/kernels.def"
}
namespace avx512 {
#include "backend/cpu/kernels.def"
}
#undef DLT_KERNEL
#undef DLT_FACTORY

#define DLT_KERNEL(name, form)
#define DLT_FACTORY(name) \
  std::unique_ptr<tensor::Kernel> make_##name(const tensor::KernelSpec& spec, Isa isa);
#include "backend/cpu/kernels.def"
#undef DLT_FACTORY
#undef DLT_KERNEL

}  // namespace dlt::cpu
