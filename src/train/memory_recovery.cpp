// SPDX-License-Identifier: Apache-2.0
#include "train/memory_recovery.h"

#include <algorithm>
#include <array>
#include <map>
#include <sstream>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/memory_part.h"
#include "checkpoint/safetensors.h"

namespace dlt::train {
namespace {

struct Found {
  int slot = 0;
  checkpoint::MemoryPart part;
};

/// Which snapshot a part belongs to; the larger the newer.
struct SnapshotKey {
  std::int64_t generation = 0, sequence = 0, step = 0, world_size = 0;
  int slot = 0;
  friend auto operator<=>(const SnapshotKey&, const SnapshotKey&) = default;
};

/// A stretch of a file, and where its bytes are.
struct Source {
  checkpoint::Extent at;
  int rank = 0;
  std::size_t part = 0;       // of that rank
  std::int64_t in_bytes = 0;  // where in the part's bytes
};

struct Snapshot {
  std::array<std::int64_t, 2> num_bytes{};
  std::vector<Source> sources;
};

/// This rank's share of the parts on its host.
std::vector<Found> read_share(const RecoveryOptions& options, comm::Communicator& comm,
                              std::vector<std::string>& warnings) {
  std::vector<Found> out;
  int turn = 0;
  for (int slot = 0; slot < kNum_slots && !options.memory_dir.empty(); ++slot) {
    const std::string folder = slot_path(options.memory_dir, slot);
    for (const std::string& name : list_directory(folder)) {
      if (turn++ % comm.local_size() != comm.local_rank()) continue;
      try {
        checkpoint::MemoryPart part = checkpoint::read_part(cat(folder, "/", name));
        if (part.facts.config_fingerprint != options.config_fingerprint) {
          warnings.push_back(cat(folder, "/", name, ": of another configuration, not used"));
        } else if (part.facts.step > options.beyond_step) {
          out.push_back({.slot = slot, .part = std::move(part)});
        }
      } catch (const Error& error) {
        warnings.push_back(cat("snapshot in memory: ", error.what()));
      }
    }
  }
  return out;
}

std::string found_text(const std::vector<Found>& mine) {
  std::ostringstream out;
  for (const Found& found : mine) {
    const checkpoint::PartFacts& facts = found.part.facts;
    out << facts.generation << ' ' << facts.sequence << ' ' << facts.step << ' ' << facts.world_size
        << ' ' << found.slot << ' ' << facts.num_bytes[0] << ' ' << facts.num_bytes[1] << ' '
        << found.part.extents.size();
    for (const checkpoint::Extent& extent : found.part.extents) {
      out << ' ' << extent.file << ' ' << extent.offset << ' ' << extent.num_bytes;
    }
    out << '\n';
  }
  return out.str();
}

/// What the ranks have described, by snapshot.
std::map<SnapshotKey, Snapshot> collect(const std::vector<std::string>& texts) {
  std::map<SnapshotKey, Snapshot> out;
  for (std::size_t rank = 0; rank < texts.size(); ++rank) {
    std::istringstream lines(texts[rank]);
    std::string line;
    for (std::size_t part = 0; std::getline(lines, line); ++part) {
      std::istringstream in(line);
      SnapshotKey key;
      std::array<std::int64_t, 2> num_bytes{};
      std::size_t num_extents = 0;
      in >> key.generation >> key.sequence >> key.step >> key.world_size >> key.slot >>
          num_bytes[0] >> num_bytes[1] >> num_extents;
      Snapshot& snapshot = out[key];
      snapshot.num_bytes = num_bytes;
      std::int64_t at = 0;
      for (std::size_t i = 0; i < num_extents; ++i) {
        checkpoint::Extent extent;
        in >> extent.file >> extent.offset >> extent.num_bytes;
        snapshot.sources.push_back(
            {.at = extent, .rank = static_cast<int>(rank), .part = part, .in_bytes = at});
        at += extent.num_bytes;
      }
      DLT_CHECK(!in.fail(), "a part's description is cut short");
    }
  }
  return out;
}

/// Stretches that make up both files, one behind the other; empty if something is missing. Copies
/// on several hosts may be cut differently.
std::vector<Source> cover(Snapshot snapshot) {
  std::vector<Source>& sources = snapshot.sources;
  std::sort(sources.begin(), sources.end(), [](const Source& a, const Source& b) {
    return std::tuple(a.at.file, a.at.offset, -a.at.num_bytes, a.rank) <
           std::tuple(b.at.file, b.at.offset, -b.at.num_bytes, b.rank);
  });
  std::vector<Source> out;
  auto next = sources.begin();
  for (int file = 0; file < 2; ++file) {
    std::int64_t at = 0;
    while (at < snapshot.num_bytes[static_cast<std::size_t>(file)]) {
      auto best = sources.end();
      for (; next != sources.end() &&
             std::pair(next->at.file, next->at.offset) <= std::pair(file, at);
           ++next) {
        if (next->at.file != file || next->at.offset + next->at.num_bytes <= at) continue;
        if (best == sources.end() ||
            next->at.offset + next->at.num_bytes > best->at.offset + best->at.num_bytes) {
          best = next;
        }
      }
      if (best == sources.end()) return {};
      Source part = *best;
      const std::int64_t skipped = at - part.at.offset;
      part.at.offset += skipped;
      part.at.num_bytes -= skipped;
      part.in_bytes += skipped;
      at += part.at.num_bytes;
      out.push_back(part);
    }
  }
  return out;
}

/// The files of a snapshot, on every rank.
std::array<std::string, 2> assemble(comm::Communicator& comm, const std::vector<Found>& mine,
                                    const Snapshot& snapshot, const std::vector<Source>& sources) {
  std::array<std::string, 2> files;
  for (std::size_t file = 0; file < files.size(); ++file) {
    files[file].resize(static_cast<std::size_t>(snapshot.num_bytes[file]));
  }
  for (const Source& source : sources) {
    char* to = files[static_cast<std::size_t>(source.at.file)].data() + source.at.offset;
    if (source.rank == comm.rank()) {
      const std::string& bytes = mine[source.part].part.bytes;
      std::copy_n(bytes.data() + source.in_bytes, source.at.num_bytes, to);
    }
    if (comm.world_size() > 1) comm.broadcast(to, source.at.num_bytes, source.rank);
  }
  return files;
}

/// What any part says of the whole, from the rank that has the first one.
checkpoint::PartFacts share_facts(comm::Communicator& comm, const std::vector<Found>& mine,
                                  const Source& first) {
  std::string text;
  std::array<std::int64_t, 4> numbers{};
  if (first.rank == comm.rank()) {
    const checkpoint::PartFacts& facts = mine[first.part].part.facts;
    text = facts.config_yaml;
    numbers = {facts.epoch, facts.epoch_samples, facts.leaves,
               static_cast<std::int64_t>(text.size())};
  }
  comm.broadcast(numbers.data(), sizeof numbers, first.rank);
  text.resize(static_cast<std::size_t>(numbers[3]));
  comm.broadcast(text.data(), numbers[3], first.rank);
  return {.epoch = numbers[0],
          .epoch_samples = numbers[1],
          .leaves = numbers[2],
          .config_yaml = std::move(text)};
}

}  // namespace

std::optional<Recovered> recover_from_memory(comm::Communicator& comm,
                                             const RecoveryOptions& options,
                                             std::vector<std::string>& warnings) {
  const std::vector<Found> mine = read_share(options, comm, warnings);
  const std::map<SnapshotKey, Snapshot> snapshots =
      collect(comm::allgather_text(comm, found_text(mine)));
  for (auto it = snapshots.rbegin(); it != snapshots.rend(); ++it) {
    const auto& [key, snapshot] = *it;
    const std::vector<Source> sources = cover(snapshot);
    if (sources.empty()) continue;  // some parts are of another step, or gone with their host
    const checkpoint::PartFacts facts = share_facts(comm, mine, sources.front());
    const std::array<std::string, 2> files = assemble(comm, mine, snapshot, sources);
    try {
      Recovered out;
      out.state.step = key.step;
      out.state.epoch = facts.epoch;
      out.state.epoch_samples = facts.epoch_samples;
      out.state.leaves = facts.leaves;
      out.state.config_fingerprint = options.config_fingerprint;
      out.state.config_yaml = facts.config_yaml;
      const std::string source = cat("snapshot of step ", key.step);
      out.state.model = checkpoint::decode(source, std::as_bytes(std::span(files[0]))).state;
      out.state.optimizer = checkpoint::decode(source, std::as_bytes(std::span(files[1]))).state;
      out.place = {.slot = key.slot, .sequence = key.sequence};
      return out;
    } catch (const Error& error) {
      warnings.push_back(cat("snapshot in memory: ", error.what()));
    }
  }
  return {};
}

}  // namespace dlt::train
