// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "comm/communicator.h"

namespace dlt::ddp {

/// Facts that must be equal on all ranks before they train together: {"binary", hash}, {"config",
/// hash},
/// {"plan", hash}, {"data", fingerprint}. Collective.
/// errors  Error(Exit::config) on every rank, naming the odd rank (the smallest group), its host
/// and the
///         first fact that differs, with both values
void require_agreement(comm::Communicator& comm, const std::string& host,
                       const std::vector<std::pair<std::string, std::string>>& facts);

/// Compares the hashes of the ranks' weights after `step` steps. Collective.
/// errors  Error(Exit::internal) on every rank naming the odd ranks, those outside the largest
/// group
///         of equal hashes; with no largest one all are named
void require_equal_replicas(comm::Communicator& comm, const std::string& host, std::int64_t step,
                            std::uint64_t hash);

/// Ends a phase in which any rank may have failed. If none did, returns. Otherwise throws on every
/// rank the failure of the lowest failing rank, its message prefixed by "rank N (HOST): " unless
/// all ranks failed alike. Collective.
void agree_on_failure(comm::Communicator& comm, const std::string& host,
                      const std::optional<Error>& failure);
/// Runs f on this rank, then agree_on_failure() with what it threw. Collective; f itself must not
/// talk to other ranks.
void together(comm::Communicator& comm, const std::string& host, const std::function<void()>& f);

}  // namespace dlt::ddp
