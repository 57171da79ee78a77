// SPDX-License-Identifier: Apache-2.0
#include "train/numerics.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace dlt::train {
namespace {

constexpr const char* kTracker = "numerics.tracker";
constexpr const char* kSkipped = "numerics.skipped";
constexpr const char* kScale = "numerics.loss_scale";
constexpr std::int64_t kScale_numbers = 2;    // scale, good steps
constexpr std::int64_t kTracker_numbers = 4;  // mean, variance, observed, rollbacks
constexpr double kLeast_deviation = 1e-3;     // of the mean

double deviation(const LossTracker& tracker) {
  return std::max(std::sqrt(std::max(tracker.variance, 0.0)),
                  kLeast_deviation * std::abs(tracker.mean));
}

[[noreturn]] void refuse_state(const char* name, const std::string& expected,
                               const std::string& got) {
  throw Error(Exit::data, cat("optimizer.safetensors: tensor '", name, "': expected ", expected,
                              ", got ", got));
}

}  // namespace

std::string_view name(Trouble trouble) {
  static constexpr std::array<std::string_view, 4> kNames{"none", "nonfinite", "spike", "listed"};
  return kNames[static_cast<std::size_t>(trouble)];
}

double LossTracker::zscore(const NumericsOptions& options, double loss) const {
  const double unit = deviation(*this);
  if (observed < options.spike_window || !(unit > 0)) return 0;
  return (loss - mean) / unit;
}

void LossTracker::observe(const NumericsOptions& options, double loss) {
  if (zscore(options, loss) > options.spike_zscore) {
    loss = mean + options.spike_zscore * deviation(*this);
  }
  const double share = std::max(2.0 / static_cast<double>(options.spike_window + 1),
                                1.0 / static_cast<double>(observed + 1));
  const double shift = loss - mean;
  mean += share * shift;
  variance = (1 - share) * (variance + share * shift * shift);
  ++observed;
}

void NumericsState::skip(std::int64_t step) {
  const auto at = std::lower_bound(skipped_.begin(), skipped_.end(), step);
  if (at == skipped_.end() || *at != step) skipped_.insert(at, step);
}

std::size_t NumericsState::count(const tensor::StateDict& optimizer) {
  return optimizer.count(kTracker) + optimizer.count(kSkipped) + optimizer.count(kScale);
}

void NumericsState::save(tensor::StateDict& to) const {
  if (tracker.observed > 0 || rollbacks > 0) {
    const tensor::Tensor values({kTracker_numbers}, DType::f64);
    const std::array<double, kTracker_numbers> numbers{tracker.mean, tracker.variance,
                                                       static_cast<double>(tracker.observed),
                                                       static_cast<double>(rollbacks)};
    std::copy(numbers.begin(), numbers.end(), values.as<double>().begin());
    to.emplace(kTracker, values);
  }
  if (scaler != optim::LossScaler{}) {
    const tensor::Tensor values({kScale_numbers}, DType::f64);
    values.as<double>()[0] = scaler.scale;
    values.as<double>()[1] = static_cast<double>(scaler.good_steps);
    to.emplace(kScale, values);
  }
  if (skipped_.empty()) return;
  const tensor::Tensor steps({static_cast<std::int64_t>(skipped_.size())}, DType::i64);
  std::copy(skipped_.begin(), skipped_.end(), steps.as<std::int64_t>().begin());
  to.emplace(kSkipped, steps);
}

void NumericsState::load(const tensor::StateDict& from) {
  *this = {};
  if (const auto found = from.find(kTracker); found != from.end()) {
    const tensor::TensorType expected{{kTracker_numbers}, DType::f64};
    if (found->second.type() != expected) {
      refuse_state(kTracker, expected.text(), found->second.type().text());
    }
    const auto numbers = found->second.as<double>();
    for (const double number : numbers) {
      if (!std::isfinite(number) || std::abs(number) > 1e300) {
        refuse_state(kTracker, "finite numbers", cat(number));
      }
    }
    const double most = 0x1p53;
    if (!(numbers[2] >= 0 && numbers[2] < most && numbers[3] >= 0 && numbers[3] < most)) {
      refuse_state(kTracker, "counts of steps", cat(numbers[2], " and ", numbers[3]));
    }
    tracker = {numbers[0], numbers[1], static_cast<std::int64_t>(numbers[2])};
    rollbacks = static_cast<std::int64_t>(numbers[3]);
  }
  load_scale(from);
  if (const auto found = from.find(kSkipped); found != from.end()) {
    if (found->second.dtype() != DType::i64 || found->second.shape().rank() != 1) {
      refuse_state(kSkipped, "a list of i64", found->second.type().text());
    }
    for (const std::int64_t step : found->second.as<std::int64_t>()) {
      if (step < 0) refuse_state(kSkipped, "steps from 0", cat(step));
      skip(step);
    }
  }
}

void NumericsState::load_scale(const tensor::StateDict& from) {
  const auto found = from.find(kScale);
  if (found == from.end()) return;
  const tensor::TensorType expected{{kScale_numbers}, DType::f64};
  if (found->second.type() != expected) {
    refuse_state(kScale, expected.text(), found->second.type().text());
  }
  const auto numbers = found->second.as<double>();
  const bool fits = numbers[0] >= optim::LossScaler::kLeast &&
                    numbers[0] <= optim::LossScaler::kMost && numbers[1] >= 0 &&
                    numbers[1] <= static_cast<double>(optim::LossScaler::kGood_steps);
  if (!fits)
    refuse_state(kScale, "a scale and a count of steps", cat(numbers[0], " and ", numbers[1]));
  scaler = {.scale = numbers[0], .good_steps = static_cast<std::int64_t>(numbers[1])};
}

}  // namespace dlt::train
