// SPDX-License-Identifier: Apache-2.0
#include <iomanip>
#include <sstream>

#include "base/text.h"
#include "observe/json_object.h"
#include "train/scaling_plan.h"

namespace dlt::train {
namespace {

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

std::string heading(const ScalingPlan& plan) {
  std::ostringstream out;
  out << plan.name << ": " << fixed(static_cast<double>(plan.gradient_bytes) / 1048576.0, 2)
      << " MiB of gradients; a rank of " << counted(plan.threads, "thread", "threads")
      << (plan.measured ? ", measured here: leaf " : ", given: leaf ")
      << fixed(plan.profile.leaf_s * 1e3, 2) << " ms, update "
      << fixed(plan.profile.update_s * 1e3, 2) << " ms\n";
  out << plan.bandwidth_gbps << " Gbit/s a host each way, latency " << plan.latency_us << " us, "
      << counted(plan.ranks_per_host, "rank", "ranks") << " a host; ";
  if (plan.scaling == Scaling::weak) {
    out << "weak scaling: " << counted(plan.leaves_per_rank, "leaf", "leaves") << " of "
        << counted(plan.leaf_samples, "sample", "samples")
        << " a rank, so the batch grows with the ranks\n";
  } else {
    out << "strong scaling: " << counted(plan.leaves_per_rank, "leaf", "leaves") << " of "
        << counted(plan.leaf_samples, "sample", "samples")
        << " shared by the ranks, so the batch stays\n";
  }
  return out.str();
}

}  // namespace

std::string scaling_table(const ScalingPlan& plan) {
  std::ostringstream out;
  out << heading(plan) << "\n"
      << "   ranks      batch  buckets    compute       wire    exposed    step ms  efficiency"
         "     samples/s\n";
  const auto ms = [&](double seconds) {
    out << std::setw(11) << fixed(seconds * 1e3, seconds < 0.1 ? 3 : 1);
  };
  for (const ScalingRow& row : plan.rows) {
    out << std::setw(8) << row.ranks << std::setw(11) << row.global_batch_size << std::setw(9)
        << row.num_buckets;
    ms(row.time.compute_s);
    ms(row.time.wire_s);
    ms(row.time.exposed_s);
    ms(row.time.step_s);
    out << std::setw(10) << fixed(row.efficiency * 100, 1) << " %" << std::setw(14)
        << fixed(row.samples_per_s, 0) << "\n";
  }
  for (const int ranks : plan.too_many) {
    out << std::setw(8) << ranks << "   more ranks than leaves: set train.leaves to " << ranks
        << " or more\n";
  }
  for (const std::string& remark : plan.remarks) out << remark << "\n";
  return out.str();
}

std::string scaling_json(const ScalingPlan& plan) {
  observe::JsonObject json;
  json.set("name", plan.name);
  json.set("scaling", std::string(plan.scaling == Scaling::weak ? "weak" : "strong"));
  json.set("threads", std::int64_t{plan.threads});
  json.set("leaves_per_rank", std::int64_t{plan.leaves_per_rank});
  json.set("ranks_per_host", std::int64_t{plan.ranks_per_host});
  json.set("gradient_bytes", plan.gradient_bytes);
  json.set("leaf_flops", plan.leaf_flops);
  json.set("leaf_kernels", plan.leaf_kernels);
  json.set("update_bytes", plan.update_bytes);
  json.set("bandwidth_gbps", plan.bandwidth_gbps);
  json.set("latency_us", plan.latency_us);
  json.set("leaf_ms", plan.profile.leaf_s * 1e3);
  json.set("update_ms", plan.profile.update_s * 1e3);
  json.set("coding_ms", plan.coding_s * 1e3);
  std::vector<observe::JsonObject> rows;
  for (const ScalingRow& row : plan.rows) {
    observe::JsonObject out;
    out.set("ranks", std::int64_t{row.ranks});
    out.set("global_batch_size", row.global_batch_size);
    out.set("buckets", row.num_buckets);
    out.set("compute_ms", row.time.compute_s * 1e3);
    out.set("wire_ms", row.time.wire_s * 1e3);
    out.set("exposed_ms", row.time.exposed_s * 1e3);
    out.set("step_ms", row.time.step_s * 1e3);
    out.set("efficiency", row.efficiency);
    out.set("samples_per_s", row.samples_per_s);
    rows.push_back(std::move(out));
  }
  json.set("rows", std::move(rows));
  return json.text(2) + "\n";
}

}  // namespace dlt::train
