// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <limits>
#include <set>
#include <utility>

#include "autodiff/node_kernel.h"
#include "autodiff/passes.h"
#include "autodiff/program_impl.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

namespace dlt::autodiff {
namespace {

std::int64_t flops_of(const Graph& graph, const Node& node) {
  if (node.op->alias) return 0;
  const std::vector<tensor::TensorType> inputs = types_of(graph, node.inputs);
  const std::vector<tensor::TensorType> outputs = types_of(graph, node.outputs);
  if (node.op->flops != nullptr) return node.op->flops(inputs, outputs, node.attrs);
  std::int64_t elements = 0;
  for (const tensor::TensorType& type : outputs) elements += type.shape.numel();
  return elements;
}

void append_number(std::string& text, std::int64_t number) {
  text += std::to_string(number);
  text += ' ';
}

}  // namespace

void Program::Impl::make_kernels(const tensor::Backend& backend) {
  std::set<std::string> fallbacks;
  for (const Node& node : graph.nodes()) {
    flops += flops_of(graph, node);
    kernels.push_back(node.op->alias ? nullptr
                                     : make_node_kernel(graph, node, backend, &fallbacks));
  }
  host_fallbacks.assign(fallbacks.begin(), fallbacks.end());
  constexpr std::int64_t kLine = 64;
  for (const auto& kernel : kernels) {
    const std::int64_t bytes = kernel != nullptr ? kernel->kept_bytes() : 0;
    kept_offset_bytes.push_back(bytes > 0 ? kept_bytes : -1);
    kept_bytes += (bytes + kLine - 1) / kLine * kLine;
  }
}

void Program::Impl::find_final_prefixes() {
  const std::vector<std::int32_t> positions = final_positions(graph, plan.order);
  const std::vector<ValueId> params = graph.params();
  const DType dtype = params.empty() ? DType::f32 : graph.value(params[0]).type.dtype;
  const auto element_bytes = static_cast<std::int64_t>(size_bytes(dtype));
  std::vector<std::int32_t> final_at;  // by layout entry
  for (const tensor::FlatLayout::Entry& entry : layout.entries) {
    const auto& gradients = graph.gradients();
    const auto found = std::find_if(gradients.begin(), gradients.end(), [&](const auto& pair) {
      return graph.value(pair.first).name == entry.name;
    });
    const bool has_gradient = found != gradients.end();
    final_at.push_back(has_gradient ? positions[static_cast<std::size_t>(found - gradients.begin())]
                                    : -1);
    if (!has_gradient) {
      zero_ranges_bytes.emplace_back(entry.offset * element_bytes, entry.numel * element_bytes);
    }
  }
  std::size_t next = 0;  // the first entry that is not final yet
  const auto prefix_behind = [&](std::int32_t position) {
    while (next < final_at.size() && final_at[next] <= position) ++next;
    return next < final_at.size() ? layout.entries[next].offset : layout.total;
  };
  start_prefix = prefix_behind(-1);
  std::int64_t told = start_prefix, flops_done = 0;
  for (std::size_t i = 0; i < plan.order.size(); ++i) {
    final_prefix.push_back(prefix_behind(static_cast<std::int32_t>(i)));
    flops_done += flops_of(graph, graph.nodes()[static_cast<std::size_t>(plan.order[i])]);
    if (final_prefix.back() <= told) continue;
    told = final_prefix.back();
    final_points.push_back({.prefix = told, .flops = flops_done});
  }
}

void Program::Impl::find_hash() {
  std::string text = graph.text();
  for (const std::int32_t node : plan.order) append_number(text, node);
  for (const Slot& slot : plan.slots) {
    append_number(text, static_cast<std::int64_t>(slot.place));
    append_number(text, slot.offset_bytes);
    append_number(text, slot.first);
    append_number(text, slot.last);
  }
  for (const std::int64_t offset : plan.scratch_offset_bytes) append_number(text, offset);
  append_number(text, plan.arena_bytes);
  for (const tensor::FlatLayout::Entry& entry : layout.entries) {
    text += cat(entry.name, " ", entry.shape.text(), " ", entry.offset, "\n");
  }
  append_number(text, layout.total);
  hash = xxh3(text);
}

Program::Program(Graph graph, tensor::Backend& backend, const tensor::FlatLayout* layout)
    : impl_(std::make_unique<Impl>(std::move(graph))) {
  optimize(impl_->graph, backend);
  std::vector<std::int32_t> order = schedule(impl_->graph);
  impl_->layout = layout != nullptr ? *layout : gradient_layout(impl_->graph, order);
  impl_->make_kernels(backend);
  std::vector<std::int64_t> scratch_bytes;
  for (const auto& kernel : impl_->kernels) {
    scratch_bytes.push_back(kernel != nullptr ? kernel->scratch_bytes() : 0);
  }
  impl_->plan = plan_memory(impl_->graph, std::move(order), impl_->layout, scratch_bytes);
  for (const std::int32_t index : impl_->plan.order) {
    const Node& node = impl_->graph.nodes()[static_cast<std::size_t>(index)];
    if (node.op->sync) impl_->sync_numel.push_back(impl_->graph.shape(node.outputs[0]).numel());
  }
  impl_->find_final_prefixes();
  impl_->find_hash();
}

Program::~Program() = default;

const Graph& Program::graph() const { return impl_->graph; }
const MemoryPlan& Program::plan() const { return impl_->plan; }
const tensor::FlatLayout& Program::layout() const { return impl_->layout; }
int Program::num_segments() const { return static_cast<int>(impl_->sync_numel.size()) + 1; }
std::int64_t Program::sync_numel(int segment) const {
  return impl_->sync_numel[static_cast<std::size_t>(segment)];
}
std::int64_t Program::max_sync_numel() const {
  const auto& sizes = impl_->sync_numel;
  return sizes.empty() ? 0 : *std::max_element(sizes.begin(), sizes.end());
}
const std::vector<Program::FinalPoint>& Program::final_points() const {
  return impl_->final_points;
}
std::vector<Program::NeedPoint> Program::need_points() const {
  std::vector<NeedPoint> points;
  std::int64_t flops_done = 0, read_from = std::numeric_limits<std::int64_t>::max();
  for (const std::int32_t index : impl_->plan.order) {
    const Node& node = impl_->graph.nodes()[static_cast<std::size_t>(index)];
    if (impl_->kernels[static_cast<std::size_t>(index)] == nullptr) continue;
    std::int64_t from = read_from;
    for (const ValueId id : node.inputs) {
      const Slot& slot = impl_->plan.slots[static_cast<std::size_t>(id.index)];
      if (slot.place != Place::param) continue;
      const auto element_bytes =
          static_cast<std::int64_t>(size_bytes(impl_->graph.value(id).type.dtype));
      from = std::min(from, slot.offset_bytes / element_bytes);
    }
    if (from < read_from) points.push_back({from, flops_done});
    read_from = from;
    flops_done += flops_of(impl_->graph, node);
  }
  return points;
}
std::int64_t Program::kept_bytes() const { return impl_->kept_bytes; }
std::int64_t Program::flops() const { return impl_->flops; }
std::vector<std::string> Program::host_fallbacks() const { return impl_->host_fallbacks; }
std::uint64_t Program::hash() const { return impl_->hash; }

}  // namespace dlt::autodiff
