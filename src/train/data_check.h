// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/session.h"

namespace dlt::train {

struct DataCheckOptions {
  std::string config_path;
  std::vector<std::string> overrides;
};

struct DataCheckResult {
  std::string text;
  std::int64_t num_bad = 0;
  std::vector<std::string> first_bad;  // what is wrong with the first of them, with file and row
};

/// Reads every sample of a config's data sets, with all threads of this process: numbers that are
/// not finite, labels out of range, counts of classes, range and mean of the inputs, rows that are
/// there more than once. errors  as read_run_config() and open_dataset()
[[nodiscard]] DataCheckResult check_data(const Surroundings& around,
                                         const DataCheckOptions& options);

}  // namespace dlt::train
