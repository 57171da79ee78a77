// SPDX-License-Identifier: Apache-2.0
#include "optim/updater.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace dlt::optim {
namespace {

using tensor::kBlockElements;

/// Below this many elements an update is cheaper than waking the workers.
constexpr std::int64_t kParallelElements = 1 << 16;
/// Elements that are updated before their average is: the parameters are then still in the cache.
constexpr std::int64_t kChunkElements = 1 << 14;

/// The kernel "sum_of_squares" for devices that have none, in the same order as the CPU's.
void sum_of_squares_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  constexpr std::size_t kLanes = 16;
  const float* values = args.inputs[0].as<const float>();
  const std::int64_t count = args.inputs[0].numel();
  std::array<double, kLanes> lanes{};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto x = static_cast<double>(values[i]);
    lanes[static_cast<std::size_t>(i) % kLanes] += x * x;
  }
  for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t k = 0; k < width; ++k) lanes[k] += lanes[k + width];
  }
  *args.outputs[0].as<double>() = lanes[0];
}

std::unique_ptr<tensor::Kernel> make_sum_of_squares(const tensor::Backend& backend) {
  const tensor::Attrs attrs;
  const std::array<tensor::TensorType, 1> in{tensor::TensorType{tensor::Shape{1}, DType::f32}};
  const std::array<tensor::TensorType, 1> out{tensor::TensorType{tensor::Shape{1}, DType::f64}};
  std::unique_ptr<tensor::Kernel> kernel;
  if (const tensor::KernelFactory factory = backend.find("sum_of_squares")) {
    kernel = factory({.inputs = in, .outputs = out, .attrs = attrs});
  }
  if (kernel == nullptr) kernel = tensor::make_function_kernel(sum_of_squares_host, attrs);
  return kernel;
}

/// Share `index` of n things.
std::pair<std::size_t, std::size_t> share(std::size_t n, int workers, int index) {
  const auto w = static_cast<std::size_t>(workers), i = static_cast<std::size_t>(index);
  return {n * i / w, n * (i + 1) / w};
}

}  // namespace

Updater::Updater(const Optimizer& optimizer, const tensor::FlatLayout& layout,
                 const tensor::Backend& backend, ThreadPool& pool, const UpdaterOptions& options)
    : optimizer_(&optimizer),
      pool_(&pool),
      total_(layout.total),
      num_workers_(
          layout.total >= kParallelElements && options.queue == nullptr ? pool.num_workers() : 1),
      clip_value_(options.clip_value),
      shard_(options.shard.value_or(Shard::whole(layout.total))),
      exchange_(options.shard ? options.add_up : nullptr),
      plan_(plan_updates(layout, optimizer.groups(), options.excluded,
                         optimizer.adapts() ? Merge::none : Merge::neighbours)),
      queue_(options.queue),
      sum_of_squares_(make_sum_of_squares(backend)),
      average_(backend) {
  for (std::size_t part = 0; part < plan_.parts.size(); ++part) {
    const auto& [begin, end, range] = plan_.parts[part];
    for (std::int64_t at = begin; at < end; at += kBlockElements) {
      blocks_.push_back(
          {.begin = at, .end = std::min(at + kBlockElements, end), .state_shift = 0, .part = part});
    }
  }
  find_own_blocks();
  sums_.resize(2 * blocks_.size());
  if (options.device != nullptr) make_device_sums(*options.device);
  trust_ratios_.assign(plan_.ranges.size(), 1.0);
  square_task_ = [this](int worker) { square_blocks(worker); };
  measure_task_ = [this](int worker) { measure_blocks(worker); };
  update_task_ = [this](int worker) { update_share(worker); };
}

void Updater::find_own_blocks() {
  auto range = shard_.ranges.begin();
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    while (range != shard_.ranges.end() && range->end <= block.begin) ++range;
    if (range == shard_.ranges.end()) return;
    if (block.end <= range->begin) continue;
    DLT_CHECK(range->begin <= block.begin && block.end <= range->end,
              "a shard ends between two blocks");
    block.state_shift = range->state_begin - range->begin;
    own_blocks_.push_back(i);
  }
}

void Updater::make_device_sums(tensor::Backend& device) {
  const auto num_bytes = static_cast<std::int64_t>(sums_.size() * sizeof(double));
  device_sums_ = device.allocate(num_bytes);
  fetched_sums_ = device.allocate_staging(num_bytes);
  std::vector<std::int64_t> table;
  for (const std::size_t own : own_blocks_) {
    table.insert(table.end(), {blocks_[own].begin, blocks_[own].end});
  }
  block_table_ = device.allocate(static_cast<std::int64_t>(table.size() * sizeof(std::int64_t)));
  tensor::copy_now(device, block_table_.data(), table.data(), block_table_.size_bytes());
  const auto rows = static_cast<std::int64_t>(own_blocks_.size());
  const std::array<tensor::TensorType, 2> in{
      tensor::TensorType{tensor::Shape{total_}, DType::f32},
      tensor::TensorType{tensor::Shape{rows, 2}, DType::i64}};
  const std::array<tensor::TensorType, 1> out{tensor::TensorType{tensor::Shape{rows}, DType::f64}};
  const tensor::Attrs attrs;
  square_all_ = tensor::require_kernel(device, "sum_of_squares_blocks",
                                       {.inputs = in, .outputs = out, .attrs = attrs});
}

void Updater::give_squares(const float* grads) {
  const std::int64_t rows = num_squares();
  if (rows == 0) return;
  const std::array<tensor::View, 2> in{
      tensor::View{const_cast<float*>(grads), {tensor::Shape{total_}, DType::f32}},
      tensor::View{block_table_.data(), {tensor::Shape{rows, 2}, DType::i64}}};
  const std::array<tensor::View, 1> out{
      tensor::View{device_sums_.data(), {tensor::Shape{rows}, DType::f64}}};
  tensor::RunContext context;
  context.queue = queue_;
  square_all_->run({.inputs = in, .outputs = out, .scratch = nullptr, .run = context});
}

/// One number of each own block, to the first of its two places in sums_. Waits for it.
void Updater::square_blocks_on_device() {
  give_squares(step_.grads);
  queue_->copy(fetched_sums_.data(), device_sums_.data(),
               num_squares() * static_cast<std::int64_t>(sizeof(double)));
  queue_->wait();
  const auto* squares = reinterpret_cast<const double*>(fetched_sums_.data());
  for (std::size_t own = 0; own < own_blocks_.size(); ++own)
    sums_[2 * own_blocks_[own]] = squares[own];
}

double* Updater::sums_of(std::size_t block) {
  double* all = queue_ != nullptr ? reinterpret_cast<double*>(device_sums_.data()) : sums_.data();
  return all + 2 * block;
}

/// What the device has made of the blocks, to sums_; waits for it.
void Updater::fetch_sums() {
  if (queue_ == nullptr) return;
  queue_->copy(fetched_sums_.data(), device_sums_.data(), device_sums_.size_bytes());
  queue_->wait();
  std::memcpy(sums_.data(), fetched_sums_.data(), sums_.size() * sizeof(double));
}

/// Every block's sums are in one rank's shard, so that adding them up over ranks only adds zeros.
void Updater::add_up_sums() {
  if (exchange_) exchange_(sums_);
}

void Updater::run(const std::function<void(int)>& task) {
  if (num_workers_ > 1) {
    pool_->run(task);
  } else {
    task(0);
  }
}

void Updater::square_blocks(int worker) {
  const auto [first, last] = share(own_blocks_.size(), num_workers_, worker);
  const tensor::RunContext context;
  for (std::size_t own = first; own < last; ++own) {
    const std::size_t i = own_blocks_[own];
    const Block& block = blocks_[i];
    const std::array<tensor::View, 1> in{
        tensor::View{const_cast<float*>(step_.grads) + block.begin,
                     {tensor::Shape{block.end - block.begin}, DType::f32}}};
    const std::array<tensor::View, 1> out{tensor::View{sums_of(i), {tensor::Shape{1}, DType::f64}}};
    sum_of_squares_->run({.inputs = in, .outputs = out, .scratch = nullptr, .run = context});
  }
}

double Updater::gradient_norm(const float* grads) {
  step_.grads = grads;
  if (exchange_) std::fill(sums_.begin(), sums_.end(), 0.0);
  if (queue_ != nullptr) {
    square_blocks_on_device();
  } else {
    run(square_task_);
  }
  add_up_sums();
  double sum = 0;
  for (std::size_t i = 0; i < blocks_.size(); ++i) sum += sums_[2 * i];
  return std::sqrt(sum);
}

UpdateArgs Updater::args_of(std::size_t range) const {
  const GroupSettings& settings = plan_.ranges[range].settings;
  return {.params = step_.params,
          .grads = step_.grads,
          .begin = plan_.ranges[range].begin,
          .end = plan_.ranges[range].end,
          .step = step_.step,
          .learning_rate = step_.learning_rate * settings.learning_rate_factor,
          .grad_scale = step_.grad_scale,
          .clip_value = clip_value_,
          .weight_decay = settings.weight_decay,
          .l1 = settings.l1,
          .l2 = settings.l2,
          .trust_ratio = trust_ratios_[range],
          .queue = queue_,
          .scalars = step_.scalars};
}

void Updater::measure_blocks(int worker) {
  const auto [first, last] = share(own_blocks_.size(), num_workers_, worker);
  for (std::size_t own = first; own < last; ++own) {
    const std::size_t i = own_blocks_[own];
    UpdateArgs args = args_of(plan_.parts[blocks_[i].part].range);
    args.begin = blocks_[i].begin;
    args.end = blocks_[i].end;
    args.state_shift = blocks_[i].state_shift;
    optimizer_->measure(args, *step_.states, sums_of(i));
  }
}

void Updater::set_trust_ratios() {
  for (std::size_t i = 0; i < blocks_.size();) {
    const std::size_t part = blocks_[i].part;
    ParamNorms squares;
    for (; i < blocks_.size() && blocks_[i].part == part; ++i) {
      squares.param += sums_[2 * i];
      squares.update += sums_[2 * i + 1];
    }
    const std::size_t range = plan_.parts[part].range;
    if (!plan_.ranges[range].settings.adapt) continue;
    trust_ratios_[range] = optimizer_->trust_ratio(
        args_of(range), {.param = std::sqrt(squares.param), .update = std::sqrt(squares.update)});
  }
}

void Updater::update(const StepUpdate& update) {
  step_ = update;
  if (step_.end < 0) step_.end = total_;
  if (optimizer_->adapts()) {
    DLT_CHECK(step_.begin == 0 && step_.end == total_, "norms are those of the whole update");
    if (exchange_) std::fill(sums_.begin(), sums_.end(), 0.0);
    run(measure_task_);
    fetch_sums();
    add_up_sums();
    set_trust_ratios();
  }
  run(update_task_);
}

/// The worker's share, in whole lines, of what of the step's range is in the shard.
void Updater::update_share(int worker) {
  std::size_t lines = 0;
  const auto lines_of = [&](const Shard::Range& range) {
    const std::int64_t begin = std::max(range.begin, step_.begin);
    const std::int64_t end = std::min(range.end, step_.end);
    return static_cast<std::size_t>(std::max<std::int64_t>(end - begin, 0)) / 16;
  };
  for (const Shard::Range& range : shard_.ranges) lines += lines_of(range);
  const auto [first, last] = share(lines, num_workers_, worker);
  std::size_t at = 0;  // lines before the range
  for (const Shard::Range& range : shard_.ranges) {
    const std::size_t here = lines_of(range);
    const std::size_t from = std::max(first, at), to = std::min(last, at + here);
    if (from < to) {
      const std::int64_t begin = std::max(range.begin, step_.begin);
      const auto element = [&](std::size_t line) {
        return begin + static_cast<std::int64_t>(line - at) * 16;
      };
      update_range({.begin = element(from),
                    .end = element(to),
                    .state_begin = range.state_begin + element(from) - range.begin});
    }
    at += here;
  }
}

void Updater::update_range(const Shard::Range& range) {
  const std::int64_t state_shift = range.state_begin - range.begin;
  if (step_.average == nullptr || step_.average_weight == 0) {
    update_chunk(range.begin, range.end, state_shift);
    return;
  }
  // A device does not need the two close to each other.
  const std::int64_t chunk = queue_ != nullptr ? range.end - range.begin : kChunkElements;
  for (std::int64_t at = range.begin; at < range.end; at += chunk) {
    const std::int64_t stop = std::min(at + chunk, range.end);
    update_chunk(at, stop, state_shift);
    average_.run(step_.params, step_.average, {at, stop}, step_.average_weight, queue_);
  }
}

void Updater::update_chunk(std::int64_t begin, std::int64_t end, std::int64_t state_shift) {
  const auto first =
      std::upper_bound(plan_.ranges.begin(), plan_.ranges.end(), begin,
                       [](std::int64_t at, const UpdateRange& range) { return at < range.end; });
  for (auto it = first; it != plan_.ranges.end() && it->begin < end; ++it) {
    UpdateArgs args = args_of(static_cast<std::size_t>(it - plan_.ranges.begin()));
    args.begin = std::max(args.begin, begin);
    args.end = std::min(args.end, end);
    args.state_shift = state_shift;
    optimizer_->update(args, *step_.states);
  }
}

}  // namespace dlt::optim
