// SPDX-License-Identifier: Apache-2.0
// The one kernel signature. A kernel is made once for fixed shapes and runs many times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tensor/shape.h"

namespace dlt::tensor {

/// Attributes of a node: a few named numbers and words. get_* with a missing name gives the
/// fallback.
class Attrs {
 public:
  using Value = std::variant<std::int64_t, double, std::string, std::vector<std::int64_t>,
                             std::vector<double>>;
  Attrs() = default;
  Attrs(std::initializer_list<std::pair<const std::string, Value>> values) : values_(values) {}
  void set(const std::string& name, Value value) { values_[name] = std::move(value); }
  [[nodiscard]] std::int64_t integer(const std::string& name, std::int64_t fallback = 0) const;
  [[nodiscard]] double number(const std::string& name, double fallback = 0.0) const;
  [[nodiscard]] std::string word(const std::string& name, const std::string& fallback = "") const;
  [[nodiscard]] std::vector<std::int64_t> integers(const std::string& name) const;
  [[nodiscard]] std::vector<double> numbers(const std::string& name) const;
  [[nodiscard]] const std::map<std::string, Value>& values() const { return values_; }
  friend bool operator==(const Attrs&, const Attrs&) = default;

 private:
  std::map<std::string, Value> values_;
};

/// Memory of one input or output during a run.
struct View {
  void* data = nullptr;
  TensorType type;
  template <typename T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(data);
  }
  [[nodiscard]] std::int64_t numel() const { return type.shape.numel(); }
};

class Queue;

/// What a captured run reads of its RunContext: in device memory, so that a replay sees new values.
struct DeviceRun {
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;
  const std::int64_t* sample_ids = nullptr;  // in device memory
};

/// What changes from run to run without being a tensor.
struct RunContext {
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;
  std::span<const std::int64_t>
      sample_ids;  // data-set row of each sample of the leaf; key of randomness
  std::span<const double>
      scalars;  // optimiser kernels: learning rate and the like, in a documented order
  // Of a device with memory of its own, else null:
  Queue* queue = nullptr;                  // takes the kernel's work
  const DeviceRun* device = nullptr;       // seed, epoch and sample ids once more
  const double* device_scalars = nullptr;  // what scalars says, in device memory; null: read those
};

struct KernelArgs {
  std::span<const View> inputs;
  std::span<const View>
      outputs;  // an output may alias input 0 where the op allows it (OpDef::in_place)
  std::byte* scratch = nullptr;  // 64-byte aligned, scratch_bytes() long
  const RunContext& run;
  std::byte* kept = nullptr;  // 64-byte aligned, kept_bytes() long; null: nothing may be kept
  bool kept_valid = false;  // kept is as the last run left it, and the parameters have not changed
};

struct KernelSpec {
  std::span<const TensorType> inputs;
  std::span<const TensorType> outputs;
  const Attrs& attrs;
  std::uint32_t params = 0;  // bit i: input i is a parameter, the same from run to run of a step
};

/// One operation on fixed shapes and dtypes. run() is const, allocates nothing and may be called
/// from several threads at once with different memory. On a device with memory of its own all
/// views, scratch and kept are the device's, and run() only puts work into the queue.
class Kernel {
 public:
  virtual ~Kernel() = default;
  [[nodiscard]] virtual std::int64_t scratch_bytes() const { return 0; }
  /// Memory for what run() makes of parameters and may use again while they stay the same, as
  /// packed copies. The result is the same without it.
  [[nodiscard]] virtual std::int64_t kept_bytes() const { return 0; }
  virtual void run(const KernelArgs& args) const = 0;
};

/// Makes a kernel for a spec, or returns null if it cannot serve these dtypes or shapes. A device's
/// factories belong to the device and must not outlive it.
using KernelFactory = std::function<std::unique_ptr<Kernel>(const KernelSpec& spec)>;
/// The same for kernels in host memory, which belong to nobody.
using HostKernelFactory = std::unique_ptr<Kernel> (*)(const KernelSpec& spec);

/// Wraps a plain function of the run arguments and attributes.
using KernelFunction = void (*)(const KernelArgs& args, const Attrs& attrs);
[[nodiscard]] std::unique_ptr<Kernel> make_function_kernel(KernelFunction function,
                                                           const Attrs& attrs);

}  // namespace dlt::tensor
