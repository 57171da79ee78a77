// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// A GPU made of CPU work, so that the CUDA back end runs in tests on machines that have none. The
/// library dltrain_cuda_emulator defines the C functions of libcudart, libcublasLt, libcudnn and
/// libnccl that dltrain uses, declared by the vendor's own headers; include/backend/cuda/device.h
/// stands in for the one of src/, so that g++ compiles the .cu files. This header steers it.
///
/// What is emulated, and how it finds mistakes
///   kernels   every thread is a fibre; threads between two barriers, and blocks, run in random
///             order. A barrier or a shuffle that some live threads miss ends the process with the
///             kernel's name. Shared memory holds NaN (bytes 0xff) when a block begins. Pointers
///             among a kernel's arguments must be null, live memory of the stream's device, or
///             pinned; a freed one in a struct is found, too.
///   streams   work is queued and runs when somebody waits, asks, or the queue is long; then work
///             of all streams runs in random order that keeps streams, events, and the legacy
///             default stream. What a missing wait would race with, it will at times overtake.
///   memory    cudaMalloc gives memory that holds NaN and that the host cannot touch: a host
///             dereference is a SIGSEGV. Each allocation ends at a page that nobody can touch;
///             bytes behind its end are checked. Freed addresses do not come back.
///             Copies check their direction, and that both ends lie inside allocations.
///             Pageable host memory: to the device it is read at the call, from the device the call
///             waits. Pinned memory is read and written when the work runs.
///   capture   streams, joined by events, into graphs that are launched any number of times; what
///             CUDA forbids while capturing is refused with its error and ends the capture.
///             Stricter than CUDA: a copy of pageable memory cannot be captured.
///   cuBLASLt  products of row- or column-major matrices in f32, bf16 and fp16,
///             with their epilogues.
///   cuDNN     the graph API: convolutions, products, pointwise operations after them.
///   NCCL      ranks are threads or processes of one host, each with a device;
///             they hand data over in files in /dev/shm. A rank that never comes
///             leaves the others' streams waiting.
/// The functions are stricter than the vendors': what is refused here may work there.
///
/// What is not: time, the caches, the number of registers, races between threads of a block that
/// are right in every order of whole stretches between barriers (compute-sanitizer finds those),
/// float rounding of the vendor's kernels (sums here run in f32 in ascending order of the inner
/// index), managed memory, textures, peer access, cudaStreamPerThread, and every function that is
/// not defined: the linker names those.
///
/// A .cu file may not have statics that begin as zeros or are made at run time: shared.ld takes
/// them for __shared__ variables, which are filled with NaN.
///
/// The order is drawn from a seed: the environment's DLT_EMULATOR_SEED or set_seed(), else from the
/// clock. It is printed with every report of the emulator; tests print seed() when they fail.
namespace dlt::emulator {

struct Device {
  std::string name = "Emulated H200";
  int major = 9, minor = 0;
  int num_multiprocessors = 8;
  std::int64_t memory_bytes = std::int64_t{1} << 30;
  std::string pci_bus_id;  // empty: from the index
  std::string uuid;        // 16 bytes; empty: from the index
  int compute_mode = 0;    // cudaComputeModeDefault
  bool full = false;       // another process holds its memory
};

/// All streams, events, graphs and memory are gone, no failure is pending, one device of the
/// default kind (or as many as DLT_EMULATOR_DEVICES says). Nobody else may be inside a call.
void reset();
/// Also forgets streams and memory. None: every call gives cudaErrorNoDevice.
void set_devices(const std::vector<Device>& devices);
/// Total memory of every device from now on; what is allocated counts.
void set_device_memory(std::int64_t bytes);

void set_seed(std::uint64_t seed);
[[nodiscard]] std::uint64_t seed();

/// The function of that name ("cudaMemcpyAsync", "cublasLtMatmul", "ncclAllReduce") does nothing
/// and returns code, once, after that many calls that go through.
void fail_next(std::string_view function, int code, int after = 0);
/// From now on until reset() every CUDA call gives that error, as after a fault on the device.
void break_device(int code);
/// The next work to run fails with that error: calls that wait for the device, and all later ones,
/// return it.
void fail_next_work(int code);

struct Counts {
  std::int64_t kernels = 0;      // launched, captured ones not counted
  std::int64_t copies = 0;       // called, captured ones not counted
  std::int64_t allocations = 0;  // cudaMalloc, cudaMallocAsync, pinned memory
  std::int64_t graph_launches = 0;
  std::int64_t host_waits = 0;    // calls that waited for the device
  std::int64_t device_bytes = 0;  // allocated now, all devices
};
[[nodiscard]] Counts counts();

/// What ncclCommGetAsyncError reports for every communicator of that rank until reset().
void set_nccl_async_error(int rank, int code);

}  // namespace dlt::emulator
