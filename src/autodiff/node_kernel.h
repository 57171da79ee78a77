// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "tensor/backend.h"

namespace dlt::autodiff {

[[nodiscard]] std::vector<tensor::TensorType> types_of(const Graph& graph,
                                                       const std::vector<ValueId>& ids);

/// The device's kernel for a node, else the op's host kernel (between copies, where the device has
/// memory of its own), whose name is then added to `fallbacks` (null: nobody asks). errors
/// Exit::internal if there is neither
[[nodiscard]] std::unique_ptr<tensor::Kernel> make_node_kernel(
    const Graph& graph, const Node& node, const tensor::Backend& backend,
    std::set<std::string>* fallbacks = nullptr);

/// The op's host kernel. errors  Exit::internal if there is none
[[nodiscard]] std::unique_ptr<tensor::Kernel> make_host_kernel(const Graph& graph,
                                                               const Node& node);

}  // namespace dlt::autodiff
