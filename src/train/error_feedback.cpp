// SPDX-License-Identifier: Apache-2.0
#include "train/error_feedback.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "ddp/sum.h"
#include "optim/optimizer.h"

namespace dlt::train {
namespace {

constexpr const char* kResidual = "error.";
constexpr const char* kShared = "powersgd.";

bool is_ours(const std::string& name) {
  return name.starts_with(kResidual) || name.starts_with(kShared);
}

std::string prefix_of(int rank) { return cat(kResidual, rank); }

const tensor::FlatLayout::Entry& entry_at(const tensor::FlatLayout& layout, std::int64_t offset) {
  const auto found = std::find_if(layout.entries.begin(), layout.entries.end(),
                                  [&](const auto& entry) { return entry.offset == offset; });
  DLT_CHECK(found != layout.entries.end(), cat("no parameter begins at ", offset));
  return *found;
}

/// The tensors of one rank.
tensor::StateDict residual_of(const tensor::StateDict& all, int rank) {
  tensor::StateDict part;
  for (const auto& [name, value] : all) {
    if (name.starts_with(prefix_of(rank) + ".")) part.emplace(name, value);
  }
  return part;
}

void restore_shared(const tensor::FlatLayout& layout, const tensor::StateDict& from,
                    const ddp::ReductionState::Shared& to) {
  const std::string name = kShared + entry_at(layout, to.param).name;
  const tensor::TensorType want{{to.rows, to.cols}, DType::f32};
  const auto found = from.find(name);
  if (found == from.end() || found->second.type() != want) {
    throw Error(Exit::data,
                cat("optimizer.safetensors: tensor '", name, "': expected ", want.text(), ", got ",
                    found == from.end() ? "none" : found->second.type().text()));
  }
  const auto values = found->second.as<float>();
  std::copy(values.begin(), values.end(), to.data);
}

}  // namespace

std::size_t ErrorFeedback::count(const tensor::StateDict& optimizer) {
  return static_cast<std::size_t>(std::count_if(
      optimizer.begin(), optimizer.end(), [](const auto& named) { return is_ours(named.first); }));
}

void ErrorFeedback::load(const tensor::StateDict& optimizer) {
  loaded_.clear();
  for (const auto& [name, value] : optimizer) {
    if (is_ours(name)) loaded_.emplace(name, value);
  }
}

void ErrorFeedback::restore(const tensor::FlatLayout& layout, const ddp::ReductionState& to,
                            int rank, int world_size) {
  const tensor::StateDict from = std::move(loaded_);
  loaded_.clear();
  if (from.empty() || to.residual.empty()) return;  // the run begins, or one rank goes on alone
  for (const auto& shared : to.shared) restore_shared(layout, from, shared);
  int ranks = 0;
  while (!residual_of(from, ranks).empty()) ++ranks;
  // Every rank looks at the tensors of all, so that a bad checkpoint is the same error everywhere.
  std::vector<float> one(to.residual.size(), 0.0F);
  for (int r = 0; r < ranks; ++r) {
    optim::flatten(layout, prefix_of(r), residual_of(from, r), one.data());
    const bool mine = ranks == world_size ? r == rank : rank == 0;
    if (!mine) continue;
    ddp::add(to.residual.data(), to.residual.data(), one.data(),
             static_cast<std::int64_t>(one.size()));
  }
}

std::string ErrorFeedback::residual_name(int rank, const std::string& param) {
  return cat(prefix_of(rank), ".", param);
}

std::string ErrorFeedback::shared_name(const tensor::FlatLayout& layout, std::int64_t param) {
  return kShared + entry_at(layout, param).name;
}

}  // namespace dlt::train
