// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "autodiff/graph.h"
#include "autodiff/planner.h"
#include "tensor/backend.h"
#include "tensor/flat_layout.h"

namespace dlt::autodiff {

/// A graph made ready for a device: kernels chosen, order fixed, memory planned. Immutable; shared
/// by the executors of all worker threads.
class Program {
 public:
  /// Runs optimize, schedule and plan_memory. layout: null to make it from the gradient
  /// order (training); an evaluation program is given the training program's layout.
  Program(Graph graph, tensor::Backend& backend, const tensor::FlatLayout* layout = nullptr);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  [[nodiscard]] const Graph& graph() const;
  [[nodiscard]] const MemoryPlan& plan() const;
  [[nodiscard]] const tensor::FlatLayout& layout() const;
  /// Floating-point operations of one run.
  [[nodiscard]] std::int64_t flops() const;
  /// Floating-point operations until the elements [0, prefix) of the gradients are final, for each
  /// prefix that a run reports; empty without gradients.
  struct FinalPoint {
    std::int64_t prefix = 0;
    std::int64_t flops = 0;
  };
  [[nodiscard]] const std::vector<FinalPoint>& final_points() const;
  /// Floating-point operations before the elements [from, total) of the parameters are first read,
  /// for each time that a run asks its ParamGate.
  struct NeedPoint {
    std::int64_t from = 0;
    std::int64_t flops = 0;
  };
  [[nodiscard]] std::vector<NeedPoint> need_points() const;
  /// Memory that Executor::keep_copies takes.
  [[nodiscard]] std::int64_t kept_bytes() const;
  /// Ops that run the host kernel because the device has none.
  [[nodiscard]] std::vector<std::string> host_fallbacks() const;
  /// Stretches of a run between the places where all leaves of a step wait for each other: one more
  /// than there are nodes of a sync op (OpDef::sync).
  [[nodiscard]] int num_segments() const;
  /// Elements that leaves add up behind a segment (not the last), and the most of all.
  [[nodiscard]] std::int64_t sync_numel(int segment) const;
  [[nodiscard]] std::int64_t max_sync_numel() const;
  /// Hash of structure, order and memory plan: equal on all ranks or they must not train together.
  [[nodiscard]] std::uint64_t hash() const;

 private:
  friend class Executor;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Told, during a run, how far the gradients are final.
class GradientSink {
 public:
  virtual ~GradientSink() = default;
  /// The first kernel of the backward pass is about to run.
  virtual void backward_begins() {}
  /// Elements [0, prefix) of the flat gradient buffer are final. Rises during a run, ends at
  /// layout().total.
  virtual void gradients_final(std::int64_t prefix) = 0;
};

/// Asked, during a run, for parameters that are still on their way.
class ParamGate {
 public:
  virtual ~ParamGate() = default;
  /// Returns once elements [from, total) of the flat parameter buffer may be read.
  virtual void wait_for_params(std::int64_t from) = 0;
};

/// Told, during a run, what each kernel has made; the views are valid during the call.
class CallWatch {
 public:
  virtual ~CallWatch() = default;
  virtual void made(const Node& node, std::span<const tensor::View> outputs) = 0;
};

/// Told, during a run, of each kernel that has run, or has been given to the queue.
class CallTimer {
 public:
  virtual ~CallTimer() = default;
  virtual void called(const Node& node) = 0;
};

/// Runs a program in an arena of its own: a flat list of kernel calls. Allocates only when made.
/// One executor belongs to one thread at a time.
class Executor {
 public:
  /// params is the flat parameter buffer (of double, cast, if the parameters are f64); it and the
  /// program must stay in place.
  Executor(const Program& program, tensor::Backend& backend, const float* params);
  ~Executor();
  Executor(Executor&&) noexcept;

  /// Memory of an input for the following runs. An input the program does not use is ignored.
  void bind_input(std::string_view name, const void* data);
  /// The flat gradient buffer of the following runs (training programs): layout().total elements.
  /// A run writes every gradient (zeros for a parameter that has none) but not the gaps between
  /// them: whoever allocates the buffer gives it zeroed, and so they stay.
  void bind_gradients(float* gradients);
  /// Asked in the following runs, before the first kernel that reads parameters further to the
  /// front of the flat buffer than any before it. Null: all parameters may be read at once.
  void bind_gate(ParamGate* gate);
  /// Told of every kernel of the following runs. Null: nobody is.
  void bind_watch(CallWatch* watch);
  /// Likewise, without what they have made.
  void bind_timer(CallTimer* timer);
  /// Lets kernels keep what they make of parameters from run to run, for which memory is taken now:
  /// worth it where several leaves run one after the other with the same parameters.
  void keep_copies();
  /// The parameters have changed since the last run.
  void params_changed();
  /// Runs all kernels on the calling thread, or gives them to the context's queue on a device with
  /// memory of its own, where all that is bound must be. The sink is called each time the final
  /// prefix rises (will have risen, once the queue is through with what it has by then), never
  /// otherwise. errors  Exit::internal if an input or the gradient buffer is not bound
  void run(const tensor::RunContext& context, GradientSink* sink = nullptr);
  /// One stretch of a run; all of them, in order, make a run.
  void run_segment(int segment, const tensor::RunContext& context, GradientSink* sink = nullptr);
  /// Behind a segment (not the last): this leaf's part of the sum over all leaves, to be replaced
  /// by that sum before the next segment.
  [[nodiscard]] tensor::View sync_view(int segment) const;
  /// An output's memory after a run, valid until the next. Errors if there is no such output.
  [[nodiscard]] tensor::View output(std::string_view name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::autodiff
