// SPDX-License-Identifier: Apache-2.0
#include "train/device_room.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iomanip>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <sstream>

#include "base/text.h"
#include "train/engine.h"
#include "train/leaf_device.h"

namespace dlt::train {
namespace {

constexpr std::size_t kMost_tensors = 5;

std::int64_t input_bytes(const autodiff::Program& program) {
  std::int64_t total = 0;
  for (const autodiff::ValueId id : program.graph().inputs()) {
    total += program.graph().value(id).type.bytes();
  }
  return total;
}

/// The position in a run at which most bytes of the arena are in use.
std::int32_t fullest_position(const autodiff::Program& program) {
  const autodiff::MemoryPlan& plan = program.plan();
  std::vector<std::int64_t> change(plan.order.size() + 1, 0);
  for (std::size_t i = 0; i < plan.slots.size(); ++i) {
    const autodiff::Slot& slot = plan.slots[i];
    if (slot.place != autodiff::Place::arena || slot.first < 0) continue;
    const std::int64_t num_bytes = program.graph().values()[i].type.bytes();
    change[static_cast<std::size_t>(slot.first)] += num_bytes;
    change[static_cast<std::size_t>(slot.last) + 1] -= num_bytes;
  }
  std::partial_sum(change.begin(), change.end(), change.begin());
  return static_cast<std::int32_t>(std::max_element(change.begin(), change.end()) - change.begin());
}

/// "conv_1 conv [32, 112, 112, 64]"
std::string value_text(const autodiff::Graph& graph, const autodiff::Value& value) {
  const autodiff::Node& node = graph.nodes()[static_cast<std::size_t>(value.producer)];
  return cat(node.scope, node.scope.empty() ? "" : " ", node.op->name, " ",
             value.type.shape.text());
}

std::vector<DeviceNeeds::Part> largest_tensors(const autodiff::Program& program) {
  const std::int32_t at = fullest_position(program);
  const autodiff::MemoryPlan& plan = program.plan();
  std::map<std::int64_t, DeviceNeeds::Part> by_offset;  // values that share memory count once
  for (std::size_t i = 0; i < plan.slots.size(); ++i) {
    const autodiff::Slot& slot = plan.slots[i];
    const autodiff::Value& value = program.graph().values()[i];
    if (slot.place != autodiff::Place::arena || value.producer < 0) continue;
    if (slot.first < 0 || slot.first > at || slot.last < at) continue;
    DeviceNeeds::Part& there = by_offset[slot.offset_bytes];
    if (value.type.bytes() <= there.num_bytes) continue;
    there = {value_text(program.graph(), value), value.type.bytes()};
  }
  std::vector<DeviceNeeds::Part> out;
  for (const auto& [offset, part] : by_offset) out.push_back(part);
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return a.num_bytes > b.num_bytes; });
  if (out.size() > kMost_tensors) out.resize(kMost_tensors);
  return out;
}

/// The smallest number of leaves, a multiple of the plan's, of which each fits with all the rest.
std::optional<int> leaves_that_fit(const DevicePlan& plan, const DeviceRoom& room,
                                   std::int64_t room_bytes) {
  const std::int64_t batch = plan.config.global_batch_size;
  for (const int factor : {2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}) {
    const std::int64_t num_leaves = std::int64_t{plan.num_leaves} * factor;
    if (num_leaves > batch) return std::nullopt;
    const auto program = training_program(plan.config, room.table, room.device,
                                          (batch + num_leaves - 1) / num_leaves, 1);
    const DevicePlan smaller{.config = plan.config,
                             .training = *program,
                             .evaluation = plan.evaluation,
                             .num_leaves = static_cast<int>(num_leaves),
                             .leaves = {plan.leaves.begin * factor, plan.leaves.end * factor},
                             .resident = plan.resident};
    if (device_needs(smaller).total_bytes() <= room_bytes) return static_cast<int>(num_leaves);
  }
  return std::nullopt;
}

std::string what_fits(const DevicePlan& plan, const DeviceRoom& room, std::int64_t room_bytes) {
  const std::int64_t arena_bytes = plan.training.plan().arena_bytes;
  const std::int64_t for_arena = room_bytes - (device_needs(plan).total_bytes() - arena_bytes);
  std::vector<std::string> ways;
  if (const std::optional<int> leaves = leaves_that_fit(plan, room, room_bytes)) {
    ways.push_back(cat("train.leaves: ", *leaves, " fits (smaller leaves, other bits)"));
  }
  if (const std::int64_t budget_mib = for_arena >> 20; budget_mib > 0 && for_arena < arena_bytes) {
    ways.push_back(cat("train.memory_budget: ", budget_mib,
                       "MiB asks for activations that are computed again, with the same bits"));
  }
  if (room.ranks > 1) ways.push_back("one rank for each GPU has all of its memory");
  if (ways.empty()) return "no division into leaves fits: a smaller model or a larger GPU does";
  return join(ways, "; ");
}

/// Of each rank that shares the device.
std::int64_t free_for_a_rank(const DeviceRoom& room) {
  return room.device.memory().free_bytes / room.ranks;
}

}  // namespace

std::int64_t DeviceNeeds::total_bytes() const {
  return std::accumulate(parts.begin(), parts.end(), std::int64_t{0},
                         [](std::int64_t sum, const Part& part) { return sum + part.num_bytes; });
}

std::string DeviceNeeds::text() const {
  std::ostringstream out;
  const auto row = [&](const char* indent, const Part& part) {
    out << "\n"
        << indent << std::right << std::setw(12) << mebibytes(part.num_bytes) << "  " << part.name;
  };
  for (const Part& part : parts) row("  ", part);
  if (!largest.empty()) out << "\n  the largest tensors among the activations of training:";
  for (const Part& part : largest) row("    ", part);
  return out.str();
}

DeviceNeeds device_needs(const DevicePlan& plan) {
  const std::int64_t flat_bytes =
      plan.training.layout().total * static_cast<std::int64_t>(sizeof(float));
  const bool average = plan.resident && plan.config.averaging.active();
  const int evaluation = plan.evaluation != nullptr ? 1 : 0;
  const auto slots = static_cast<std::int64_t>(LeafDevice::kSlots);
  const std::int64_t gradients =
      plan.resident ? ddp::plan_worker(plan.leaves, plan.num_leaves).num_buffers : slots;
  const auto states =
      plan.resident ? static_cast<std::int64_t>(plan.config.optimizer->state_names().size()) : 0;
  DeviceNeeds out;
  const auto add = [&](const char* name, std::int64_t num_bytes) {
    if (num_bytes > 0) out.parts.push_back({name, num_bytes});
  };
  add("parameters, for training and evaluation", flat_bytes * (1 + evaluation));
  add("average of parameters", average ? flat_bytes : 0);
  add("gradients", flat_bytes * gradients);
  add("optimiser state", flat_bytes * states);
  add("activations of training", plan.training.plan().arena_bytes);
  add("parameters as kernels keep them", plan.leaves.size() > 1 ? plan.training.kept_bytes() : 0);
  if (plan.evaluation != nullptr) {
    add("activations of evaluation", plan.evaluation->plan().arena_bytes);
  }
  add("inputs of two leaves",
      slots * (input_bytes(plan.training) +
               (plan.evaluation != nullptr ? input_bytes(*plan.evaluation) : 0)));
  out.largest = largest_tensors(plan.training);
  return out;
}

void require_room(const DevicePlan& plan, const DeviceRoom& room) {
  if (room.device.in_host_memory()) return;
  const DeviceNeeds needs = device_needs(plan);
  const std::int64_t there = free_for_a_rank(room);
  if (needs.total_bytes() <= there) return;
  throw Error(
      Exit::unavailable,
      cat(room.name, ": out of memory: the job needs ", mebibytes(needs.total_bytes()), ", ",
          mebibytes(there), " of ", mebibytes(room.device.memory().total_bytes), " are free",
          room.ranks > 1 ? cat(" for each of ", room.ranks, " ranks") : "", ":", needs.text()),
      what_fits(plan, room, there));
}

Error no_room(const Error& failure, const DevicePlan& plan, const DeviceRoom& room) {
  const DeviceNeeds needs = device_needs(plan);
  return {failure.exit(),
          cat(failure.what(), "; by its plan the job needs ", mebibytes(needs.total_bytes()), ":",
              needs.text()),
          what_fits(plan, room, std::min(free_for_a_rank(room), needs.total_bytes() - 1))};
}

}  // namespace dlt::train
