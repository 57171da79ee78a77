// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/job_config.h"

#include "base/text.h"
#include "config/node.h"

namespace dlt::supervise {

JobConfig read_job_config(const std::string& path, const std::vector<std::string>& overrides) {
  config::Diagnostics diagnostics;
  const config::Node root = config::load(path, overrides, diagnostics);
  config::MapReader file(&root, "", root.mark, diagnostics);
  JobConfig out;
  config::MapReader run = file.map("run");
  out.run_dir = run.text("dir", cat("runs/", run.text("name", std::string("run"))));
  if (out.run_dir.empty()) run.error("dir", "expected a folder name, got ''");
  out.fault = config::read_fault(file.map("fault"));
  // Its range and all other keys are the ranks' business: finish() is not called here.
  out.threads = file.map("train").integer_or_auto("threads", {.min = 1, .max = 1024}).value_or(0);
  diagnostics.throw_if_any();
  return out;
}

}  // namespace dlt::supervise
