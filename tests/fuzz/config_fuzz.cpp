// SPDX-License-Identifier: Apache-2.0
// The YAML parser, and all that reads a run's configuration from its tree.
#include <string>

#include "base/error.h"
#include "fuzz/fuzz.h"
#include "ops/ops.h"
#include "tensor/backend.h"
#include "train/run_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const dlt::autodiff::OpTable table = dlt::ops::make_op_table();
  static const auto backend = dlt::tensor::make_cpu_backend();
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const dlt::train::RunConfig config = dlt::train::run_config_of("f.yaml", text, table, *backend);
    // What was read is written to every run's folder, and must be read again as the same.
    const std::string yaml = dlt::config::to_yaml(config.resolved);
    const dlt::train::RunConfig again = dlt::train::run_config_of("r.yaml", yaml, table, *backend);
    DLT_CHECK(config_fingerprint(config) == config_fingerprint(again), "the config read again");
  } catch (const dlt::Error& error) {
    if (error.exit() == dlt::Exit::internal) throw;  // our bug
  }
  return 0;
}
