// SPDX-License-Identifier: Apache-2.0
#include "data/loader.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tensor/storage.h"

namespace dlt::data {
namespace {

using tensor::Storage;

// Handing a leaf over takes two wake-ups, some 8 us; converting this much from memory some 20 us.
constexpr std::int64_t kInlineLeaf_bytes = 1 << 20;

/// One leaf's buffers. A loader thread owns it while it fills it, next()'s caller while it uses it.
struct Slot {
  Storage inputs, targets, weights;
  Storage read_inputs, moved, read_targets, labels;  // with augmentation
  std::vector<std::int64_t> ids;
  LeafBatch batch;
  std::exception_ptr failure;
  std::int64_t filled = -1;  // number of the leaf in it, guarded by the loader's mutex
};

int thread_count(const LoaderOptions& options, const Dataset& dataset, std::int64_t leaf_bytes) {
  if (options.num_threads >= 0) return options.num_threads;
  return dataset.in_memory() && leaf_bytes <= kInlineLeaf_bytes ? 0 : 1;
}

void copy_row(std::byte* rows, std::int64_t row_bytes, std::int64_t to) {
  std::memcpy(rows + to * row_bytes, rows, static_cast<std::size_t>(row_bytes));
}

}  // namespace

struct Loader::Impl {
  Impl(const Dataset& dataset_in, const Sampler& sampler_in, const LoaderOptions& options_in)
      : dataset(dataset_in),
        sampler(sampler_in),
        options(options_in),
        capacity(sampler_in.leaf_capacity()),
        input_row_bytes(4 * dataset_in.input_shape().numel()),
        target_row_bytes(4 * (options_in.augment != nullptr ? options_in.augment->target_numel()
                                                            : dataset_in.target_shape().numel())) {
    DLT_CHECK(options.num_leaves >= 1 && options.first_leaf >= 0, "a loader serves no leaf");
    DLT_CHECK(options.first_step >= 0 && options.prefetch >= 1, "bad loader options");
    num_leaves_total =
        std::max<std::int64_t>(0, options.end_step - options.first_step - num_skipped()) *
        options.num_leaves;
    const int num_threads = thread_count(options, dataset, capacity * input_row_bytes);
    slots.resize(num_threads == 0 ? 1 : static_cast<std::size_t>(options.prefetch) + 1);
    for (Slot& slot : slots) prepare(slot);
    try {
      for (int i = 0; i < num_threads; ++i) threads.emplace_back([this] { work(); });
    } catch (...) {
      stop_threads();
      throw;
    }
  }

  ~Impl() { stop_threads(); }

  void stop_threads() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      stop = true;
    }
    slot_free.notify_all();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }

  void prepare(Slot& slot) const {
    slot.inputs = Storage::allocate(capacity * input_row_bytes);
    slot.targets = Storage::allocate(capacity * target_row_bytes);
    slot.weights = Storage::allocate(capacity * 4);
    slot.ids.resize(static_cast<std::size_t>(capacity));
    slot.batch.inputs = slot.inputs.data();
    slot.batch.targets = slot.targets.data();
    slot.batch.weights = reinterpret_cast<const float*>(slot.weights.data());
    slot.batch.sample_ids = slot.ids;
    if (options.augment == nullptr) return;
    slot.read_inputs = Storage::allocate(capacity * input_row_bytes);
    slot.read_targets = Storage::allocate(capacity * 4 * dataset.target_shape().numel());
    const AugmentOptions& augment = options.augment->options();
    if (augment.moves() && augment.mixes()) {
      slot.moved = Storage::allocate(capacity * input_row_bytes);
    }
    if (!options.augment->mixes_labels()) return;
    slot.labels = Storage::allocate(capacity * 4);
    slot.batch.labels = reinterpret_cast<const std::int32_t*>(slot.labels.data());
  }

  [[nodiscard]] std::int64_t num_skipped() const {
    return std::count_if(options.skip_steps.begin(), options.skip_steps.end(),
                         [this](std::int64_t step) {
                           return step >= options.first_step && step < options.end_step;
                         });
  }

  /// The step that comes after `position` others, which do not count those that are skipped.
  [[nodiscard]] std::int64_t step_at(std::int64_t position) const {
    std::int64_t step = options.first_step + position;
    for (const std::int64_t skipped : options.skip_steps) {
      if (skipped >= options.first_step && skipped <= step) ++step;
    }
    return step;
  }

  /// The rows of a leaf as they are stored; bad ones, where they are passed over, as copies of the
  /// first good one, with weight 0.
  void read_stored(Slot& slot, std::span<const std::int64_t> rows, std::byte* inputs,
                   std::byte* targets) const {
    try {
      dataset.read(rows, inputs, targets);
    } catch (const BadSample&) {
      if (options.bad == nullptr) throw;
      read_one_by_one(slot, rows, inputs, targets);
    }
  }

  void read_one_by_one(Slot& slot, std::span<const std::int64_t> rows, std::byte* inputs,
                       std::byte* targets) const {
    const auto input_bytes = static_cast<std::size_t>(input_row_bytes);
    const auto target_bytes = static_cast<std::size_t>(4 * dataset.target_shape().numel());
    auto* const weights = reinterpret_cast<float*>(slot.weights.data());
    std::size_t good = rows.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      try {
        dataset.read(rows.subspan(i, 1), inputs + i * input_bytes, targets + i * target_bytes);
        good = std::min(good, i);
      } catch (const BadSample& problem) {
        options.bad->add(rows[i], problem.what());
        weights[i] = 0;
      }
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (weights[i] != 0) continue;
      if (good == rows.size()) {
        std::memset(inputs + i * input_bytes, 0, input_bytes);
        std::memset(targets + i * target_bytes, 0, target_bytes);
      } else {
        std::memcpy(inputs + i * input_bytes, inputs + good * input_bytes, input_bytes);
        std::memcpy(targets + i * target_bytes, targets + good * target_bytes, target_bytes);
      }
    }
  }

  /// The rows of a leaf, changed by the augmentation if there is one.
  void read(Slot& slot, std::span<const std::int64_t> rows) const {
    if (options.augment == nullptr) {
      read_stored(slot, rows, slot.inputs.data(), slot.targets.data());
      return;
    }
    read_stored(slot, rows, slot.read_inputs.data(), slot.read_targets.data());
    options.augment->apply({.count = static_cast<std::int64_t>(rows.size()),
                            .epoch = static_cast<std::uint64_t>(sampler.epoch_of(slot.batch.step)),
                            .ids = rows,
                            .inputs = reinterpret_cast<const float*>(slot.read_inputs.data()),
                            .targets = slot.read_targets.data(),
                            .moved = reinterpret_cast<float*>(slot.moved.data()),
                            .out_inputs = reinterpret_cast<float*>(slot.inputs.data()),
                            .out_targets = slot.targets.data(),
                            .out_labels = reinterpret_cast<std::int32_t*>(slot.labels.data())});
  }

  /// Leaf `number` of this loader's sequence.
  void fill(Slot& slot, std::int64_t number) const {
    LeafBatch& batch = slot.batch;
    batch.step = step_at(number / options.num_leaves);
    batch.leaf = options.first_leaf + static_cast<int>(number % options.num_leaves);
    const std::int64_t count = sampler.leaf_rows(batch.step, batch.leaf, slot.ids);
    batch.count = count;
    auto* const weights = reinterpret_cast<float*>(slot.weights.data());
    std::fill(weights, weights + count, 1.0f);
    std::fill(weights + count, weights + capacity, 0.0f);
    std::fill(slot.ids.begin() + count, slot.ids.end(), std::int64_t{-1});
    std::byte* const inputs = slot.inputs.data();
    std::byte* const targets = slot.targets.data();
    if (count == 0) {
      std::memset(inputs, 0, static_cast<std::size_t>(capacity * input_row_bytes));
      std::memset(targets, 0, static_cast<std::size_t>(capacity * target_row_bytes));
      return;
    }
    const std::span<const std::int64_t> rows(slot.ids.data(), static_cast<std::size_t>(count));
    read(slot, rows);
    for (std::int64_t i = count; i < capacity; ++i) {
      copy_row(inputs, input_row_bytes, i);
      copy_row(targets, target_row_bytes, i);
    }
  }

  void fill_or_keep_failure(Slot& slot, std::int64_t number) const {
    slot.failure = nullptr;
    try {
      fill(slot, number);
    } catch (...) {
      slot.failure = std::current_exception();
    }
  }

  Slot& slot_of(std::int64_t number) {
    return slots[static_cast<std::size_t>(number % static_cast<std::int64_t>(slots.size()))];
  }

  /// A loader thread: takes the next leaf number once its slot is free, fills it, hands it over.
  void work() {
    std::unique_lock<std::mutex> lock(mutex);
    const auto num_slots = static_cast<std::int64_t>(slots.size());
    while (true) {
      slot_free.wait(lock, [&] {
        return stop || next_to_fill >= num_leaves_total || next_to_fill < oldest_in_use + num_slots;
      });
      if (stop || next_to_fill >= num_leaves_total) return;
      const std::int64_t number = next_to_fill++;
      Slot& slot = slot_of(number);
      lock.unlock();
      fill_or_keep_failure(slot, number);
      lock.lock();
      slot.filled = number;
      slot_filled.notify_one();
    }
  }

  const LeafBatch& next() {
    DLT_CHECK(next_to_use < num_leaves_total, "next() after the last leaf");
    const std::int64_t number = next_to_use++;
    Slot& slot = slot_of(number);
    if (threads.empty()) {
      fill_or_keep_failure(slot, number);
    } else {
      std::unique_lock<std::mutex> lock(mutex);
      oldest_in_use = number;  // gives the slot of the leaf before back
      slot_free.notify_one();
      slot_filled.wait(lock, [&] { return slot.filled == number; });
    }
    if (slot.failure) std::rethrow_exception(slot.failure);
    return slot.batch;
  }

  const Dataset& dataset;
  const Sampler& sampler;
  const LoaderOptions options;
  const std::int64_t capacity;
  const std::int64_t input_row_bytes;
  const std::int64_t target_row_bytes;
  std::int64_t num_leaves_total = 0;
  std::int64_t next_to_use = 0;  // the caller's alone
  std::vector<Slot> slots;
  std::mutex mutex;  // guards everything below and Slot::filled
  std::condition_variable slot_free, slot_filled;
  std::int64_t next_to_fill = 0;
  std::int64_t oldest_in_use = 0;
  bool stop = false;
  std::vector<std::thread> threads;
};

Loader::Loader(const Dataset& dataset, const Sampler& sampler, const LoaderOptions& options)
    : impl_(std::make_unique<Impl>(dataset, sampler, options)) {}

Loader::~Loader() = default;

const LeafBatch& Loader::next() { return impl_->next(); }

std::int64_t Loader::buffer_bytes() const {
  std::int64_t bytes = 0;
  for (const Slot& slot : impl_->slots) {
    bytes += slot.inputs.size_bytes() + slot.targets.size_bytes() + slot.weights.size_bytes() +
             slot.read_inputs.size_bytes() + slot.moved.size_bytes() +
             slot.read_targets.size_bytes() + slot.labels.size_bytes() +
             static_cast<std::int64_t>(slot.ids.size() * sizeof(slot.ids[0]));
  }
  return bytes;
}

}  // namespace dlt::data
