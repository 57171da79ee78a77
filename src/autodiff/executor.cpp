// SPDX-License-Identifier: Apache-2.0
#include "autodiff/executor.h"

#include <cstddef>
#include <cstring>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "autodiff/program_impl.h"
#include "base/error.h"
#include "base/text.h"
#include "tensor/host_copies.h"

namespace dlt::autodiff {
namespace {

/// One kernel call with its memory resolved. The views lie in one vector, inputs before outputs.
struct Call {
  const tensor::Kernel* kernel = nullptr;
  std::byte* scratch = nullptr;
  std::uint32_t first_view = 0;
  std::uint16_t num_inputs = 0;
  std::uint16_t num_outputs = 0;
  std::uint32_t node = 0;
  bool begins_backward = false;
  std::int64_t kept_offset_bytes = -1;
  std::int64_t final_prefix = -1;  // told to the sink behind this call; -1: it has not risen
  std::int64_t params_from = -1;   // asked of the gate before this call; -1: nothing new
};

/// A graph input and the views that show it.
struct InputBinding {
  std::string name;
  std::vector<std::uint32_t> views;
  bool bound = false;
};

struct FlatView {
  std::uint32_t view = 0;
  std::int64_t offset_bytes = 0;
};

}  // namespace

struct Executor::Impl {
  Impl(const Program::Impl& program_impl, tensor::Backend& device, const float* params_buffer)
      : program(program_impl),
        backend(device),
        arena(device.allocate(program_impl.plan.arena_bytes)),
        params(reinterpret_cast<std::byte*>(const_cast<float*>(params_buffer))) {
    const std::vector<ValueId> ids = program.graph.inputs();
    for (const ValueId id : ids) inputs.push_back({program.graph.value(id).name, {}, false});
    for (const auto& [name, id] : program.graph.outputs()) {
      output_names.push_back(name);
      output_views.push_back(add_view(id));
    }
    std::int64_t told = program.start_prefix;
    for (std::size_t i = 0; i < program.plan.order.size(); ++i) add_call(i, told);
  }

  /// A constant's bytes on the device.
  std::byte* constant_bytes(std::int32_t index) {
    const tensor::Tensor& tensor = program.graph.constant({index});
    if (backend.in_host_memory()) return tensor.bytes();
    auto& copy = constants[index];
    if (copy.data() == nullptr) {
      copy = backend.allocate(tensor.type().bytes());
      tensor::copy_now(backend, copy.data(), tensor.bytes(), copy.size_bytes());
    }
    return copy.data();
  }

  std::uint32_t add_view(ValueId id) {
    const Slot& slot = program.plan.slots[static_cast<std::size_t>(id.index)];
    const auto index = static_cast<std::uint32_t>(views.size());
    views.push_back({nullptr, program.graph.value(id).type});
    switch (slot.place) {
      case Place::arena:
        DLT_CHECK(slot.offset_bytes >= 0, cat("value ", id.index, " has no memory"));
        views.back().data = arena.data() + slot.offset_bytes;
        break;
      case Place::param:
        views.back().data = params + slot.offset_bytes;
        break;
      case Place::gradient:
        gradient_views.push_back({index, slot.offset_bytes});
        break;
      case Place::input:
        inputs[static_cast<std::size_t>(slot.offset_bytes)].views.push_back(index);
        break;
      case Place::constant:
        views.back().data = constant_bytes(static_cast<std::int32_t>(slot.offset_bytes));
        break;
    }
    return index;
  }

  void add_call(std::size_t position, std::int64_t& told) {
    const auto node_index = static_cast<std::size_t>(program.plan.order[position]);
    const Node& node = program.graph.nodes()[node_index];
    std::int64_t prefix = -1;
    if (program.final_prefix[position] > told) prefix = told = program.final_prefix[position];
    if (program.kernels[node_index] == nullptr) {
      // An alias: nothing runs. It may still have been the last reader of a gradient.
      if (prefix >= 0) tell_behind_last_call(prefix);
      return;
    }
    Call call;
    call.kernel = program.kernels[node_index].get();
    call.first_view = static_cast<std::uint32_t>(views.size());
    call.num_inputs = static_cast<std::uint16_t>(node.inputs.size());
    call.num_outputs = static_cast<std::uint16_t>(node.outputs.size());
    call.node = static_cast<std::uint32_t>(node_index);
    call.final_prefix = prefix;
    call.begins_backward = node.backward && !backward_begun;
    backward_begun = backward_begun || node.backward;
    const std::int64_t scratch_offset = program.plan.scratch_offset_bytes[node_index];
    call.kept_offset_bytes = program.kept_offset_bytes[node_index];
    if (scratch_offset >= 0) call.scratch = arena.data() + scratch_offset;
    for (const ValueId id : node.inputs) {
      add_view(id);
      note_param(id, call);
    }
    for (const ValueId id : node.outputs) add_view(id);
    calls.push_back(call);
    if (node.op->sync) {
      sync_views.push_back(call.first_view + call.num_inputs);
      segment_ends.push_back(calls.size());
    }
  }

  void note_param(ValueId id, Call& call) {
    const Slot& slot = program.plan.slots[static_cast<std::size_t>(id.index)];
    if (slot.place != Place::param) return;
    const auto element_bytes =
        static_cast<std::int64_t>(size_bytes(program.graph.value(id).type.dtype));
    const std::int64_t from = slot.offset_bytes / element_bytes;
    if (from < params_from) params_from = call.params_from = from;
  }

  void tell_behind_last_call(std::int64_t prefix) {
    DLT_CHECK(!calls.empty(), "a gradient is final before anything has run");
    calls.back().final_prefix = prefix;
  }

  void check_bound() {
    for (const InputBinding& input : inputs) {
      DLT_CHECK(input.views.empty() || input.bound, cat("input ", input.name, " is not bound"));
    }
    DLT_CHECK(gradients != nullptr || program.graph.gradients().empty(),
              "the gradient buffer is not bound");
    ready = true;
  }

  /// What comes before the first kernel.
  void begin_run(const tensor::RunContext& context, GradientSink* sink) {
    if (!ready) check_bound();
    DLT_CHECK(backend.in_host_memory() == (context.queue == nullptr),
              "a queue is for devices with memory of their own");
    if (gradients != nullptr) {
      for (const auto& [offset_bytes, size_bytes] : program.zero_ranges_bytes) {
        if (context.queue != nullptr) {
          context.queue->zero(gradients + offset_bytes, size_bytes);
        } else {
          std::memset(gradients + offset_bytes, 0, static_cast<std::size_t>(size_bytes));
        }
      }
    }
    if (sink != nullptr && program.start_prefix > 0) sink->gradients_final(program.start_prefix);
  }

  /// What a kernel has made, in host memory.
  void tell_watch(const Call& call, std::span<const tensor::View> outputs,
                  const tensor::RunContext& context) {
    const Node& node = program.graph.nodes()[call.node];
    if (context.queue == nullptr) {
      watch->made(node, outputs);
      return;
    }
    const tensor::HostCopies copies(outputs);
    copies.fetch(*context.queue);
    context.queue->wait();
    watch->made(node, copies.views());
  }

  const Program::Impl& program;
  tensor::Backend& backend;
  std::map<std::int32_t, tensor::Storage> constants;  // of a device with memory of its own
  tensor::Storage arena;
  tensor::Storage kept;  // of all kernels, once keep_copies was asked for
  bool keeps = false;
  bool kept_valid = false;  // since the last whole run the parameters have not changed
  std::byte* params = nullptr;
  std::int64_t params_from = std::numeric_limits<std::int64_t>::max();  // read by the calls so far
  ParamGate* gate = nullptr;
  CallWatch* watch = nullptr;
  CallTimer* timer = nullptr;
  std::byte* gradients = nullptr;
  std::vector<tensor::View> views;
  std::vector<Call> calls;
  std::vector<std::uint32_t> sync_views;  // of the sum behind each segment but the last
  std::vector<std::size_t> segment_ends;  // one past its last call, for each of these
  std::vector<InputBinding> inputs;       // by index of the graph's inputs
  std::vector<FlatView> gradient_views;
  std::vector<std::string> output_names;
  std::vector<std::uint32_t> output_views;
  bool backward_begun = false;  // in the calls so far
  bool ready = false;           // all that must be bound is bound
};

Executor::Executor(const Program& program, tensor::Backend& backend, const float* params)
    : impl_(std::make_unique<Impl>(*program.impl_, backend, params)) {}
Executor::~Executor() = default;
Executor::Executor(Executor&&) noexcept = default;

void Executor::bind_input(std::string_view name, const void* data) {
  for (InputBinding& input : impl_->inputs) {
    if (input.name != name) continue;
    for (const std::uint32_t view : input.views) {
      impl_->views[view].data = const_cast<void*>(data);
    }
    input.bound = data != nullptr;
    impl_->ready = false;
    return;
  }
}

void Executor::bind_gradients(float* gradients) {
  impl_->gradients = reinterpret_cast<std::byte*>(gradients);
  for (const FlatView& flat : impl_->gradient_views) {
    impl_->views[flat.view].data =
        gradients != nullptr ? impl_->gradients + flat.offset_bytes : nullptr;
  }
  impl_->ready = false;
}

void Executor::bind_gate(ParamGate* gate) { impl_->gate = gate; }

void Executor::bind_watch(CallWatch* watch) { impl_->watch = watch; }

void Executor::bind_timer(CallTimer* timer) { impl_->timer = timer; }

void Executor::keep_copies() {
  if (impl_->keeps || impl_->program.kept_bytes == 0) return;
  impl_->kept = impl_->backend.allocate(impl_->program.kept_bytes);
  impl_->keeps = true;
}

void Executor::params_changed() { impl_->kept_valid = false; }

void Executor::run(const tensor::RunContext& context, GradientSink* sink) {
  const int segments = static_cast<int>(impl_->segment_ends.size()) + 1;
  for (int segment = 0; segment < segments; ++segment) run_segment(segment, context, sink);
}

void Executor::run_segment(int segment, const tensor::RunContext& context, GradientSink* sink) {
  Impl& impl = *impl_;
  const auto index = static_cast<std::size_t>(segment);
  if (segment == 0) impl.begin_run(context, sink);
  const std::size_t begin = index == 0 ? 0 : impl.segment_ends[index - 1];
  const std::size_t end =
      index < impl.segment_ends.size() ? impl.segment_ends[index] : impl.calls.size();
  const tensor::View* views = impl.views.data();
  std::byte* kept = impl.keeps ? impl.kept.data() : nullptr;
  for (std::size_t i = begin; i < end; ++i) {
    const Call& call = impl.calls[i];
    if (call.params_from >= 0 && impl.gate != nullptr) {
      impl.gate->wait_for_params(call.params_from);
    }
    if (call.begins_backward && sink != nullptr) sink->backward_begins();
    const tensor::View* inputs = views + call.first_view;
    call.kernel->run(
        {{inputs, call.num_inputs},
         {inputs + call.num_inputs, call.num_outputs},
         call.scratch,
         context,
         kept != nullptr && call.kept_offset_bytes >= 0 ? kept + call.kept_offset_bytes : nullptr,
         impl.kept_valid});
    if (impl.timer != nullptr) impl.timer->called(impl.program.graph.nodes()[call.node]);
    if (impl.watch != nullptr) {
      impl.tell_watch(call, {inputs + call.num_inputs, call.num_outputs}, context);
    }
    if (call.final_prefix >= 0 && sink != nullptr) sink->gradients_final(call.final_prefix);
  }
  if (end == impl.calls.size()) impl.kept_valid = impl.keeps;
}

tensor::View Executor::sync_view(int segment) const {
  return impl_->views[impl_->sync_views[static_cast<std::size_t>(segment)]];
}

tensor::View Executor::output(std::string_view name) const {
  for (std::size_t i = 0; i < impl_->output_names.size(); ++i) {
    if (impl_->output_names[i] == name) return impl_->views[impl_->output_views[i]];
  }
  throw Error(Exit::internal, cat("the program has no output ", name),
              cat("its outputs: ", join(impl_->output_names)));
}

}  // namespace dlt::autodiff
