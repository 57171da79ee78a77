// SPDX-License-Identifier: Apache-2.0
// The flat buffers as named tensors and back.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "optim/optimizer.h"

namespace dlt::optim {
namespace {

std::string full_name(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : cat(prefix, ".", name);
}

void check_tensor(const tensor::FlatLayout::Entry& entry, const std::string& name,
                  const tensor::StateDict& state) {
  const tensor::TensorType wanted{entry.shape, DType::f32};
  const auto found = state.find(name);
  if (found == state.end()) {
    throw Error(Exit::data,
                cat("tensor '", name, "': expected ", wanted.text(), ", got none of that name"),
                "is the checkpoint of another model?");
  }
  if (found->second.type() != wanted) {
    throw Error(
        Exit::data,
        cat("tensor '", name, "': expected ", wanted.text(), ", got ", found->second.type().text()),
        "is the checkpoint of another model?");
  }
}

/// Every tensor of the prefix must belong to a parameter.
void check_no_other(const tensor::FlatLayout& layout, const std::string& prefix,
                    const tensor::StateDict& state) {
  tensor::StateDict known;
  for (const auto& entry : layout.entries)
    known.emplace(full_name(prefix, entry.name), tensor::Tensor());
  const std::string start = prefix.empty() ? "" : prefix + ".";
  for (const auto& [name, tensor] : state) {
    if (!name.starts_with(start) || known.contains(name)) continue;
    throw Error(Exit::data,
                cat("tensor '", printable(name), "': unexpected, the model has no such parameter"),
                "is the checkpoint of another model?");
  }
}

}  // namespace

void check_fits(const tensor::FlatLayout& layout, const std::string& prefix,
                const tensor::StateDict& state) {
  for (const auto& entry : layout.entries) {
    check_tensor(entry, full_name(prefix, entry.name), state);
  }
  check_no_other(layout, prefix, state);
}

tensor::StateDict unflatten(const tensor::FlatLayout& layout, const std::string& prefix,
                            float* flat) {
  const auto element = static_cast<std::int64_t>(sizeof(float));
  const tensor::Storage storage = tensor::Storage::borrow(flat, layout.total * element);
  tensor::StateDict state;
  for (const auto& entry : layout.entries) {
    state.emplace(full_name(prefix, entry.name),
                  tensor::Tensor({entry.shape, DType::f32}, storage, entry.offset * element));
  }
  return state;
}

void flatten(const tensor::FlatLayout& layout, const std::string& prefix,
             const tensor::StateDict& state, float* flat) {
  check_fits(layout, prefix, state);  // a refused state leaves the buffer as it was
  for (const auto& entry : layout.entries) {
    const tensor::Tensor& tensor = state.at(full_name(prefix, entry.name));
    // The tensors of unflatten() lie in flat itself.
    std::memmove(flat + entry.offset, tensor.bytes(), tensor.byte_span().size());
  }
}

void flatten_shard(const tensor::FlatLayout& layout, const std::string& prefix,
                   const tensor::StateDict& state, const Shard& shard, float* packed) {
  check_fits(layout, prefix, state);
  for (const Shard::Range& range : shard.ranges) {
    for (const auto& entry : layout.entries) {
      const std::int64_t begin = std::max(range.begin, entry.offset);
      const std::int64_t end = std::min(range.end, entry.offset + entry.numel);
      if (begin >= end) continue;
      const float* from = state.at(full_name(prefix, entry.name)).as<float>().data();
      std::copy_n(from + (begin - entry.offset), end - begin,
                  packed + range.state_begin + (begin - range.begin));
    }
  }
}

}  // namespace dlt::optim
