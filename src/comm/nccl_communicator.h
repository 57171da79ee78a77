// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "comm/device_communicator.h"
#include "comm/nccl_library.h"

namespace dlt {
class Clock;
}

namespace dlt::comm {

struct NcclOptions {
  std::string gpu;             // this rank's GPU, for messages: its UUID
  double init_timeout_s = 60;  // until all ranks are there
  double call_timeout_s = 0;   // until NCCL takes a call; 0: for ever
  double abort_timeout_s = 5;  // for an abort, before it is left behind
  Clock* clock = nullptr;      // null: the system's
};

/// A communicator, or why the ranks have none. All ranks are told the same.
struct NcclStart {
  std::unique_ptr<DeviceCommunicator> comm;
  std::string why_not;  // "rank 1: NCCL 2.18.3, expected 2.19 or newer"
};

/// Joins the GPUs that are current on the ranks' threads. Collective over `host`, which must
/// outlive the communicator. A rank that gives a library that cannot be used makes all do without.
/// errors  Error(Exit::peer_lost) if a rank is lost
[[nodiscard]] NcclStart start_nccl(Communicator& host, const NcclFound& found,
                                   const NcclOptions& options);

}  // namespace dlt::comm
