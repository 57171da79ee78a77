// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/fault_options.h"

namespace dlt::supervise {

/// What dlrun itself needs of a config; the ranks read the rest.
struct JobConfig {
  std::string run_dir;
  config::FaultOptions fault;
  std::int64_t threads = 0;  // of a rank; 0: auto
};

/// errors  Error(Exit::config) with the mistakes in what dlrun reads; Error(Exit::missing) if there
/// is no such file
[[nodiscard]] JobConfig read_job_config(const std::string& path,
                                        const std::vector<std::string>& overrides);

}  // namespace dlt::supervise
