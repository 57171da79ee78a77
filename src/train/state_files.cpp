// SPDX-License-Identifier: Apache-2.0
#include "train/state_files.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"
#include "optim/optimizer.h"
#include "train/error_feedback.h"

namespace dlt::train {
namespace {

struct Part {
  std::int64_t num_bytes = 0;
  const std::byte* data = nullptr;
  int owner = StateFiles::kEveryRank;
};
struct Content {
  tensor::TensorType type;
  std::vector<Part> parts;  // in the order of the tensor's bytes
};
using Contents = std::map<std::string, Content>;

const std::byte* bytes_of(const void* data) { return static_cast<const std::byte*>(data); }

std::string named(const std::string& prefix, const std::string& param) {
  return prefix.empty() ? param : cat(prefix, ".", param);
}

void add_flat(Contents& out, const tensor::FlatLayout& layout, const std::string& prefix,
              const float* flat) {
  for (const auto& entry : layout.entries) {
    out[named(prefix, entry.name)] = {.type = {.shape = entry.shape, .dtype = DType::f32},
                                      .parts = {{.num_bytes = entry.numel * kFloat_bytes,
                                                 .data = bytes_of(flat + entry.offset)}}};
  }
}

struct OwnedRange {
  std::int64_t begin = 0, end = 0;
  int owner = 0;
  std::int64_t state_begin = 0;
};

/// Which rank has which elements of the optimiser's state, ascending.
std::vector<OwnedRange> owned_ranges(const StateSource& source) {
  std::vector<OwnedRange> out;
  for (int rank = 0; rank < source.world_size; ++rank) {
    const std::optional<optim::Shard> shard = source.plan.shard_of(rank);
    for (const auto& range : shard->ranges) {
      out.push_back({.begin = range.begin,
                     .end = range.end,
                     .owner = rank,
                     .state_begin = range.state_begin});
    }
  }
  std::sort(out.begin(), out.end(),
            [](const OwnedRange& a, const OwnedRange& b) { return a.begin < b.begin; });
  return out;
}

/// Where the elements of a shard lie: one behind the other, or where they are in the whole buffer.
enum class Lie : std::uint8_t { packed, in_place };

void add_sharded(Contents& out, const StateSource& source, const std::string& prefix, Lie lie,
                 const float* values) {
  const std::vector<OwnedRange> ranges = owned_ranges(source);
  for (const auto& entry : source.state.layout().entries) {
    Content content{.type = {.shape = entry.shape, .dtype = DType::f32}, .parts = {}};
    for (const OwnedRange& range : ranges) {
      const std::int64_t from = std::max(range.begin, entry.offset);
      const std::int64_t to = std::min(range.end, entry.offset + entry.numel);
      if (to <= from) continue;
      const bool mine = range.owner == source.rank;
      const std::int64_t at = lie == Lie::packed ? range.state_begin + (from - range.begin) : from;
      content.parts.push_back({.num_bytes = (to - from) * kFloat_bytes,
                               .data = mine ? bytes_of(values + at) : nullptr,
                               .owner = range.owner});
    }
    out[named(prefix, entry.name)] = std::move(content);
  }
}

/// A buffer that every rank has whole once it is settled.
void add_whole(Contents& out, const StateSource& source, const std::string& prefix,
               const float* flat) {
  if (source.state.shard() && source.settled == Settled::no) {
    add_sharded(out, source, prefix, Lie::in_place, flat);
  } else {
    add_flat(out, source.state.layout(), prefix, flat);
  }
}

void add_carried(Contents& out, const StateSource& source) {
  const CarriedState& carried = source.state.carried();
  const int num_leaves = source.division.num_leaves();
  for (std::size_t i = 0; i < carried.specs().size(); ++i) {
    Content content{
        .type = {.shape = {carried.num_rows(), carried.specs()[i].size}, .dtype = DType::f32},
        .parts = {}};
    for (int rank = 0; rank < source.world_size; ++rank) {
      const ddp::LeafRange leaves = source.division.of(rank);
      const std::int64_t begin = carried.first_row(leaves.begin, num_leaves);
      const std::int64_t end = carried.first_row(leaves.end, num_leaves);
      if (end == begin) continue;
      content.parts.push_back(
          {.num_bytes = (end - begin) * carried.specs()[i].size * kFloat_bytes,
           .data = rank == source.rank ? bytes_of(carried.row(i, begin)) : nullptr,
           .owner = rank});
    }
    out[carried.specs()[i].name] = std::move(content);
  }
}

void add_reduction(Contents& out, const StateSource& source) {
  const tensor::FlatLayout& layout = source.state.layout();
  for (int rank = 0; rank < source.world_size && !source.reduction.residual.empty(); ++rank) {
    for (const auto& entry : layout.entries) {
      const float* mine = source.reduction.residual.data() + entry.offset;
      out[ErrorFeedback::residual_name(rank, entry.name)] = {
          .type = {.shape = entry.shape, .dtype = DType::f32},
          .parts = {{.num_bytes = entry.numel * kFloat_bytes,
                     .data = rank == source.rank ? bytes_of(mine) : nullptr,
                     .owner = rank}}};
    }
  }
  for (const auto& shared : source.reduction.shared) {
    out[ErrorFeedback::shared_name(layout, shared.param)] = {
        .type = {.shape = {shared.rows, shared.cols}, .dtype = DType::f32},
        .parts = {{.num_bytes = shared.rows * shared.cols * kFloat_bytes,
                   .data = bytes_of(shared.data)}}};
  }
}

Contents optimizer_contents(const StateSource& source, const StateFiles& files) {
  Contents out;
  const ModelState& state = source.state;
  const std::vector<std::string> names = state.optimizer()->state_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (state.shard()) {
      add_sharded(out, source, names[i], Lie::packed, state.states()[i]);
    } else {
      add_flat(out, state.layout(), names[i], state.states()[i]);
    }
  }
  if (state.averaging().active()) add_whole(out, source, state.averaging().name(), state.average());
  add_carried(out, source);
  add_reduction(out, source);
  for (const auto& [name, value] : files.small) {
    out[name] = {.type = value.type(),
                 .parts = {{.num_bytes = value.type().bytes(), .data = value.bytes()}}};
  }
  return out;
}

void add_file(StateFiles& files, int file, const Contents& contents, std::int64_t step) {
  std::map<std::string, tensor::TensorType> types;
  for (const auto& [name, content] : contents) types.emplace_hint(types.end(), name, content.type);
  checkpoint::FilePlan plan = checkpoint::plan_file(types, checkpoint::file_metadata(step));
  const auto index = static_cast<std::size_t>(file);
  files.headers[index] = std::move(plan.header);
  files.num_bytes[index] = plan.num_bytes;
  std::int64_t at = 0;
  const auto add = [&](const Part& part) {
    if (part.num_bytes > 0) {
      files.pieces.push_back({.at = {.file = file, .offset = at, .num_bytes = part.num_bytes},
                              .data = part.data,
                              .owner = part.owner});
    }
    at += part.num_bytes;
  };
  const std::string& header = files.headers[index];
  add({.num_bytes = static_cast<std::int64_t>(header.size()), .data = bytes_of(header.data())});
  for (const auto& [name, content] : contents) {
    for (const Part& part : content.parts) add(part);
  }
  DLT_CHECK(at == plan.num_bytes, cat("file ", file, ": ", at, " of ", plan.num_bytes, " bytes"));
}

}  // namespace

std::unique_ptr<StateFiles> state_files(const StateSource& source, std::int64_t step) {
  auto files = std::make_unique<StateFiles>();
  source.state.save_small(files->small);
  Contents model;
  add_whole(model, source, "", source.state.params());
  add_file(*files, 0, model, step);
  add_file(*files, 1, optimizer_contents(source, *files), step);
  return files;
}

std::vector<checkpoint::Stretch> share_of(const StateFiles& files, int rank, Member member) {
  std::int64_t common = 0;
  for (const auto& piece : files.pieces) {
    if (piece.owner == StateFiles::kEveryRank) common += piece.at.num_bytes;
  }
  const std::int64_t parts =
      std::clamp<std::int64_t>(common / checkpoint::kBlock_bytes, 1, member.count);
  std::vector<checkpoint::Stretch> out;
  std::int64_t before = 0;  // common bytes
  for (const auto& piece : files.pieces) {
    if (piece.owner != StateFiles::kEveryRank) {
      if (piece.owner == rank) out.push_back({.at = piece.at, .data = piece.data});
      continue;
    }
    const std::int64_t end = piece.at.offset + piece.at.num_bytes;
    for (std::int64_t at = piece.at.offset; at < end;) {
      const std::int64_t next =
          std::min(end, (at / checkpoint::kBlock_bytes + 1) * checkpoint::kBlock_bytes);
      if (before * parts / common == member.index) {
        out.push_back({.at = {.file = piece.at.file, .offset = at, .num_bytes = next - at},
                       .data = piece.data + (at - piece.at.offset)});
      }
      before += next - at;
      at = next;
    }
  }
  return out;
}

void ShareCopy::reserve(const std::vector<checkpoint::Stretch>& share) {
  std::int64_t total = 0;
  for (const auto& stretch : share) total += stretch.at.num_bytes;
  if (bytes_.size_bytes() >= total) return;
  bytes_ = tensor::Storage::allocate(total);
  std::memset(bytes_.data(), 0, static_cast<std::size_t>(total));  // the system gives pages now
}

void ShareCopy::take(const std::vector<checkpoint::Stretch>& share) {
  reserve(share);
  stretches_.clear();
  std::size_t at = 0;
  for (const auto& stretch : share) {
    std::byte* to = bytes_.data() + at;
    const auto size = static_cast<std::size_t>(stretch.at.num_bytes);
    std::memcpy(to, stretch.data, size);
    at += size;
    stretches_.push_back({.at = stretch.at, .data = to});
  }
}

}  // namespace dlt::train
