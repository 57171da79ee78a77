// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "data/bad_samples.h"
#include "data/column.h"
#include "data/convert.h"
#include "data/dataset.h"
#include "data/h5.h"

namespace dlt::data {
namespace {

using tensor::Shape;

constexpr std::int64_t kCheckBlock = 16384;  // elements

std::vector<std::int64_t> without_ones(const Shape& shape) {
  std::vector<std::int64_t> out;
  for (const std::int64_t size : shape.dims()) {
    if (size != 1) out.push_back(size);
  }
  return out;
}

/// Equal, but for sizes of 1, or for one of them being flat.
bool fits(const Shape& stored, const Shape& wanted) {
  if (stored.numel() != wanted.numel()) return false;
  return stored.rank() <= 1 || wanted.rank() <= 1 || without_ones(stored) == without_ones(wanted);
}

/// [c, ...] to [..., c].
Shape channels_last(const Shape& shape) {
  std::array<std::int64_t, Shape::kMaxRank> dims{};
  const auto rank = static_cast<std::size_t>(shape.rank());
  for (std::size_t i = 0; i < rank; ++i) dims[i] = shape.dims()[(i + 1) % rank];
  return Shape(std::span<const std::int64_t>(dims.data(), rank));
}

[[noreturn]] void refuse_number(const Column& column, std::int64_t row, std::int64_t element,
                                const std::byte* stored) {
  const std::string text = element_text(column.dtype(), stored);
  throw BadSample(cat(column.where(), " row ", row, ": element ", element, " is ", text,
                      ", expected a finite number",
                      text.find_first_of("ni") == std::string::npos ? " that fits 32 bits" : ""));
}

/// The integers that a column may hold, and what they are called.
struct Integers {
  const char* what = "label";
  LabelRange range;
};

Integers integers(const char* what, std::int64_t limit, bool allows_ignored) {
  Integers out{what, {.lowest = allows_ignored ? -1 : 0}};
  if (limit > 0) out.range.limit = limit;
  return out;
}

std::string legal_text(const LabelRange& range) {
  const std::string ignored = range.lowest < 0 ? ", or -1 (ignored)" : "";
  if (range.limit == LabelRange{}.limit) return cat("a whole number from 0", ignored);
  return cat("0 to ", range.limit - 1, ignored);
}

/// count elements of a column from the begin of stored row first_row on.
void convert_integers(const Column& column, const Integers& legal, std::int64_t first_row,
                      const std::byte* stored, std::int64_t count, std::int32_t* out) {
  const std::int64_t bad = to_labels(column.dtype(), stored, count, legal.range, out);
  if (bad < 0) return;
  const std::byte* at = stored + bad * static_cast<std::int64_t>(size_bytes(column.dtype()));
  const std::int64_t numel = column.row_numel();
  throw BadSample(cat(column.where(), " ", column.place_text(first_row + bad / numel, bad % numel),
                      ": ", legal.what, " ", element_text(column.dtype(), at),
                      " is out of range, expected ", legal_text(legal.range)));
}

/// Calls use(first element, its bytes, how many) for blocks of a column in memory.
template <typename Use>
void for_blocks(const Column& column, const Use& use) {
  const std::int64_t numel = column.row_numel();
  const std::int64_t block_rows = std::max<std::int64_t>(1, kCheckBlock / numel);
  for (std::int64_t row = 0; row < column.rows(); row += block_rows) {
    use(row, column.cached_row(row), std::min(block_rows, column.rows() - row) * numel);
  }
}

/// Checks the whole of a column in memory for NaN and infinity.
void check_cached_numbers(const Column& column, const Converter& converter) {
  if (!converter.may_be_non_finite()) return;
  std::vector<float> block;
  const auto size = static_cast<std::int64_t>(size_bytes(column.dtype()));
  for_blocks(column, [&](std::int64_t row, const std::byte* stored, std::int64_t count) {
    block.resize(static_cast<std::size_t>(count));
    converter.to_f32(stored, count, block.data());
    const std::int64_t bad = find_non_finite(block.data(), count);
    if (bad < 0) return;
    refuse_number(column, row + bad / column.row_numel(), bad % column.row_numel(),
                  stored + bad * size);
  });
}

void check_cached_integers(const Column& column, const Integers& legal) {
  std::vector<std::int32_t> block;
  for_blocks(column, [&](std::int64_t row, const std::byte* stored, std::int64_t count) {
    block.resize(static_cast<std::size_t>(count));
    convert_integers(column, legal, row, stored, count, block.data());
  });
}

Column::Samples input_samples(const DatasetOptions& options) {
  if (!options.window) return {};
  return {.extent = options.window->length + (options.targets_are_next ? 1 : 0),
          .stride = options.window->stride};
}

Column::Samples target_samples(const DatasetOptions& options) {
  if (!options.window) return {};
  return {.extent = options.window->length, .stride = options.window->stride};
}

class Hdf5Dataset final : public Dataset {
 public:
  explicit Hdf5Dataset(const DatasetOptions& options)
      : options_(options),
        file_(h5::open_file(options.file)),
        inputs_(file_, options.file, options.inputs, input_samples(options)),
        input_converter_(inputs_.dtype(), options.scale, options.offset),
        target_converter_(DType::f32, 1.0, 0.0),
        tokens_(integers("token", options.num_tokens, false)),
        classes_(integers("label", options.num_classes, options.allows_ignored)) {
    check_window();
    input_shape_ = sample_shape(inputs_);
    if (options.layout == Layout::nchw) input_shape_ = channels_last(input_shape_);
    check_shape(inputs_, input_shape_, options.input_shape, "the model's input");
    if (options.targets_are_next) {
      target_converter_ = input_converter_;
      check_next();
    }
    if (!options.targets.empty()) {
      targets_.emplace(file_, options.file, options.targets, target_samples(options));
      target_converter_ = Converter(targets_->dtype(), 1.0, 0.0);
      if (targets_->rows() != inputs_.rows()) {
        throw Error(Exit::data, cat(targets_->where(), " has ", targets_->rows(), " rows, '",
                                    printable(options_.inputs), "' has ", inputs_.rows()));
      }
      check_target_shape(*targets_);
    }
    load();
  }

  [[nodiscard]] std::int64_t num_rows() const override { return inputs_.num_samples(); }
  [[nodiscard]] Shape input_shape() const override { return input_shape_; }
  [[nodiscard]] Shape target_shape() const override { return target_shape_; }
  [[nodiscard]] bool in_memory() const override {
    return inputs_.cached() && (!targets_ || targets_in_memory_);
  }
  [[nodiscard]] std::int64_t cached_bytes() const override {
    std::int64_t bytes = static_cast<std::int64_t>(labels_.size() * sizeof(labels_[0]));
    if (inputs_.cached()) bytes += inputs_.about().bytes();
    if (targets_ && targets_->cached()) bytes += targets_->about().bytes();
    return bytes;
  }

  [[nodiscard]] std::uint64_t fingerprint() const override {
    std::uint64_t hash = inputs_.fingerprint(0);
    if (targets_) hash = targets_->fingerprint(hash);
    if (!labels_.empty()) hash = xxh3(std::as_bytes(std::span(labels_)), hash);
    return hash;
  }

  void read(std::span<const std::int64_t> rows, void* inputs, void* targets) const override {
    for (const std::int64_t row : rows) {
      DLT_CHECK(row >= 0 && row < num_rows(), "no such row");
    }
    const bool next = options_.targets_are_next && targets != nullptr;
    const std::int64_t numel = input_shape_.numel();
    inputs_.for_samples(rows, [&](std::int64_t place, const std::byte* stored) {
      const std::int64_t first = inputs_.first_row(rows[static_cast<std::size_t>(place)]);
      read_input(first, stored, at(inputs, place * numel));
      if (next) {
        read_target(inputs_, first + next_row_, stored + next_row_ * inputs_.row_bytes(),
                    at(targets, place * target_shape_.numel()));
      }
    });
    if (targets_ && targets != nullptr) read_own_targets(rows, targets);
  }

 private:
  static void* at(void* elements, std::int64_t index) {
    return static_cast<std::byte*>(elements) + 4 * index;
  }

  /// A stored row, or a window of them.
  [[nodiscard]] Shape sample_shape(const Column& column) const {
    const Shape row = column.about().row_shape();
    return options_.window ? row.with_front(options_.window->length) : row;
  }

  void check_window() const {
    DLT_CHECK(!options_.targets_are_next || (options_.window && options_.targets.empty()),
              "the next rows are targets of windows that have no others");
    DLT_CHECK(!options_.window || options_.layout == Layout::nhwc, "windows have no channels");
    if (inputs_.num_samples() > 0) return;
    throw Error(Exit::data,
                cat(inputs_.where(), " has ", inputs_.rows(), " rows, expected at least ",
                    input_samples(options_).extent, ": a window of ", options_.window->length,
                    options_.targets_are_next ? " and the row after it" : ""));
  }

  static void check_shape(const Column& column, const Shape& have,
                          const std::optional<Shape>& wanted, std::string_view whose) {
    if (!wanted || fits(have, *wanted)) return;
    throw Error(Exit::data, cat(column.where(), ": its rows have shape ", have.text(), ", ", whose,
                                " has ", wanted->text()));
  }

  void check_target_shape(const Column& column) {
    const Shape have = sample_shape(column);
    if (options_.target_kind == TargetKind::values) {
      check_shape(column, have, options_.target_shape, "the loss's target");
      target_shape_ = have;
      return;
    }
    target_shape_ = options_.target_shape.value_or(Shape{});
    if (fits(have, target_shape_)) return;
    if (target_shape_.numel() != 1) {
      throw Error(Exit::data, cat(column.where(), ": its rows have shape ", have.text(),
                                  ", expected class labels of shape ", target_shape_.text()));
    }
    throw Error(
        Exit::data,
        cat(column.where(), ": its shape is ", h5::shape_text(column.about().dims),
            ", expected one class label a row: [", column.rows(), "] or [", column.rows(), ", 1]"),
        "turn one-hot rows into class numbers, or use a loss that takes values");
  }

  /// The window one row later, or where the loss wants only one row: the row after the window.
  void check_next() {
    const Shape row = inputs_.about().row_shape();
    const bool one_row =
        options_.window->length > 1 && options_.target_shape && fits(row, *options_.target_shape);
    if (!one_row) {
      check_target_shape(inputs_);
      return;
    }
    next_row_ = options_.window->length;
    target_shape_ = *options_.target_shape;
  }

  void load() {
    std::int64_t budget_bytes = options_.cache_bytes;
    if (targets_) {
      targets_in_memory_ = targets_->about().bytes() <= budget_bytes;
      if (targets_in_memory_) {
        budget_bytes -= targets_->about().bytes();
        load_targets();
      } else {
        targets_->prepare_scattered(file_, options_.file);
      }
    }
    if (inputs_.about().bytes() <= budget_bytes) {
      inputs_.load();
      if (options_.check_when_opened) check_inputs();
    } else {
      inputs_.prepare_scattered(file_, options_.file);
    }
    if (in_memory()) file_.reset();
  }

  void check_inputs() {
    check_cached(inputs_, options_.input_kind == InputKind::tokens, input_converter_, tokens_);
    if (options_.targets_are_next) {
      check_cached(inputs_, options_.target_kind == TargetKind::labels, input_converter_, classes_);
    }
  }

  /// What is not checked yet.
  [[nodiscard]] bool check_row(const Column& column, const Converter& converter) const {
    return !(column.cached() && options_.check_when_opened) && converter.may_be_non_finite();
  }

  static void check_cached(const Column& column, bool whole, const Converter& converter,
                           const Integers& legal) {
    if (whole) {
      check_cached_integers(column, legal);
    } else {
      check_cached_numbers(column, converter);
    }
  }

  void load_targets() {
    targets_->load();
    if (!options_.check_when_opened) return;
    if (options_.target_kind == TargetKind::values) {
      check_cached_numbers(*targets_, target_converter_);
      return;
    }
    const std::int64_t count = targets_->about().numel();
    labels_.resize(static_cast<std::size_t>(count));
    convert_integers(*targets_, classes_, 0, targets_->cached_row(0), count, labels_.data());
    targets_->drop_cache();
  }

  void read_input(std::int64_t first_row, const std::byte* stored, void* out) const {
    const std::int64_t numel = input_shape_.numel();
    if (options_.input_kind == InputKind::tokens) {
      convert_integers(inputs_, tokens_, first_row, stored, numel, static_cast<std::int32_t*>(out));
      return;
    }
    auto* const values = static_cast<float*>(out);
    if (options_.layout == Layout::nchw) {
      turn_channels(stored, values);
    } else {
      input_converter_.to_f32(stored, numel, values);
    }
    if (!check_row(inputs_, input_converter_)) return;
    if (find_non_finite(values, numel) >= 0) refuse_input(first_row, stored);
  }

  /// Stored [c, n] to [n, c], a block of one channel at a time.
  void turn_channels(const std::byte* stored, float* out) const {
    constexpr std::int64_t kBlock = 512;
    std::array<float, kBlock> block;
    const std::int64_t channels = input_shape_.last();
    const std::int64_t pixels = input_shape_.rows();
    const auto size = static_cast<std::int64_t>(size_bytes(inputs_.dtype()));
    for (std::int64_t first = 0; first < pixels; first += kBlock) {
      const std::int64_t count = std::min(kBlock, pixels - first);
      for (std::int64_t c = 0; c < channels; ++c) {
        input_converter_.to_f32(stored + (c * pixels + first) * size, count, block.data());
        float* const to = out + first * channels + c;
        for (std::int64_t i = 0; i < count; ++i)
          to[i * channels] = block[static_cast<std::size_t>(i)];
      }
    }
  }

  /// Finds the element again in the order of the file.
  [[noreturn]] void refuse_input(std::int64_t first_row, const std::byte* stored) const {
    const auto size = static_cast<std::int64_t>(size_bytes(inputs_.dtype()));
    for (std::int64_t i = 0; i < input_shape_.numel(); ++i) {
      float value = 0.0f;
      input_converter_.to_f32(stored + i * size, 1, &value);
      if (std::isfinite(value)) continue;
      refuse_number(inputs_, first_row + i / inputs_.row_numel(), i % inputs_.row_numel(),
                    stored + i * size);
    }
    throw Error(Exit::internal, cat(inputs_.where(), ": a number that is not finite is gone"));
  }

  void read_target(const Column& column, std::int64_t first_row, const std::byte* stored,
                   void* out) const {
    const std::int64_t numel = target_shape_.numel();
    if (options_.target_kind == TargetKind::labels) {
      convert_integers(column, classes_, first_row, stored, numel, static_cast<std::int32_t*>(out));
      return;
    }
    auto* const values = static_cast<float*>(out);
    target_converter_.to_f32(stored, numel, values);
    if (!check_row(column, target_converter_)) return;
    const std::int64_t bad = find_non_finite(values, numel);
    if (bad < 0) return;
    refuse_number(column, first_row + bad / column.row_numel(), bad % column.row_numel(),
                  stored + bad * static_cast<std::int64_t>(size_bytes(column.dtype())));
  }

  void read_own_targets(std::span<const std::int64_t> rows, void* targets) const {
    const std::int64_t numel = target_shape_.numel();
    if (!labels_.empty()) {
      auto* to = static_cast<std::int32_t*>(targets);
      for (const std::int64_t row : rows) {
        const auto* const from = labels_.data() + targets_->first_row(row) * targets_->row_numel();
        to = std::copy(from, from + numel, to);
      }
      return;
    }
    targets_->for_samples(rows, [&](std::int64_t place, const std::byte* stored) {
      read_target(*targets_, targets_->first_row(rows[static_cast<std::size_t>(place)]), stored,
                  at(targets, place * numel));
    });
  }

  DatasetOptions options_;
  h5::Handle file_;
  Column inputs_;
  std::optional<Column> targets_;
  Converter input_converter_;
  Converter target_converter_;
  Integers tokens_;
  Integers classes_;
  Shape input_shape_;
  Shape target_shape_;
  std::int64_t next_row_ = 1;  // where in a window the next rows begin that are its targets
  bool targets_in_memory_ = false;
  std::vector<std::int32_t> labels_;  // of every stored row, where the targets are labels in memory
};

}  // namespace

std::unique_ptr<Dataset> open_hdf5(const DatasetOptions& options) {
  DLT_CHECK(std::isfinite(options.scale) && std::isfinite(options.offset),
            "scale and offset must be finite");
  return std::make_unique<Hdf5Dataset>(options);
}

}  // namespace dlt::data
