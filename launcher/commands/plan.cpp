// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <ostream>
#include <span>

#include "base/text.h"
#include "launcher/commands.h"
#include "launcher/surroundings.h"
#include "train/scaling_plan.h"

namespace dlt::launcher {
namespace {

constexpr int kMost_ranks = 65536;

/// "8,64,512" as numbers.
std::vector<int> read_ranks(const std::string& text) {
  std::vector<int> ranks;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    int value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    const bool separated = next == end || (*next == ',' && next + 1 != end);
    if (error != std::errc() || value < 1 || value > kMost_ranks || !separated) {
      throw Error(Exit::usage,
                  cat("--ranks: expected integers from 1 to ", kMost_ranks,
                      " with commas between them, got '", printable(text), "'"),
                  "for example --ranks 8,64,512");
    }
    ranks.push_back(value);
    if (next == end) return ranks;
    at = next + 1;
  }
}

void require_positive(const char* option, double value) {
  if (value > 0) return;
  throw Error(Exit::usage, cat(option, ": expected a number above 0, got ", value));
}

class Plan final : public Command {
 public:
  std::string name() const override { return "plan"; }
  std::string summary() const override {
    return "Predict step time and efficiency on many ranks of a network";
  }

  void declare(Options& options) override {
    options.positional("CFG", options_.config_path, "YAML file that describes the run");
    options.repeated("--set", options_.overrides, "Override a key: --set train.threads=1");
    options.required("--ranks", ranks_, "Ranks to predict for: 8,64,512");
    options.number("--bandwidth-gbps", options_.bandwidth_gbps,
                   "Of each host's link, each way, in Gbit/s (default 100)");
    options.number("--latency-us", options_.latency_us,
                   "Of a message, in microseconds (default 5)");
    options.number("--message-us", options_.message_us,
                   "That each further message of a round takes its rank (default 1)");
    options.integer("--ranks-per-node", ranks_per_host_, {.min = 1, .max = kMost_ranks},
                    "Ranks that share a host and its link (default 1)");
    options.number("--memory-gb-s", memory_gb_per_s_,
                   "Memory bandwidth of a host (default: measured here)");
    options.number("--step-ms", step_ms_,
                   "Step of one rank without communication (default: measured here)");
    options.choice("--scaling", scaling_, {"auto", "strong", "weak"},
                   "weak: each rank keeps the batch; strong: the ranks share it (auto: strong if "
                   "train.leaves is a number)");
    options.text("--svg", svg_path_, "File to draw the prediction to");
    options.flag("--json", json_, "Print JSON instead of a table");
  }

  Exit run(Context& context) override {
    if (context.ranks.world_size > 1) {
      throw Error(Exit::usage,
                  cat("plan: expected one process, got ", context.ranks.world_size, " ranks"),
                  "start it without mpirun; --ranks says what to predict for");
    }
    options_.ranks = read_ranks(ranks_);
    options_.ranks_per_host = static_cast<int>(ranks_per_host_);
    require_positive("--bandwidth-gbps", options_.bandwidth_gbps);
    if (memory_gb_per_s_ != 0) require_positive("--memory-gb-s", memory_gb_per_s_);
    if (memory_gb_per_s_ != 0) options_.memory_gb_per_s = memory_gb_per_s_;
    if (step_ms_ != 0) require_positive("--step-ms", step_ms_);
    if (step_ms_ != 0) options_.step_ms = step_ms_;
    if (scaling_ == "weak") options_.scaling = train::Scaling::weak;
    if (scaling_ == "strong") options_.scaling = train::Scaling::strong;
    RealSurroundings real;
    const train::Surroundings around = real.get(context.ranks);
    const train::ScalingPlan plan = train::make_scaling_plan(around, options_);
    if (!svg_path_.empty()) {
      const std::string svg = train::scaling_svg(plan);
      const std::span<const std::byte> bytes = std::as_bytes(std::span(svg));
      around.fs.write_synced(svg_path_, {&bytes, 1});
    }
    context.out << (json_ ? train::scaling_json(plan) : train::scaling_table(plan));
    return Exit::ok;
  }

 private:
  train::PlanOptions options_{.bandwidth_gbps = 100, .latency_us = 5};
  std::string ranks_, svg_path_, scaling_ = "auto";
  std::int64_t ranks_per_host_ = 1;
  double memory_gb_per_s_ = 0, step_ms_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_plan() { return std::make_unique<Plan>(); }

}  // namespace dlt::launcher
