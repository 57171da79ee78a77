// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "data/convert.h"
#include "data/dataset.h"
#include "data/h5.h"
#include "tensor/storage.h"

namespace dlt::data {
namespace {

using tensor::Shape;
using tensor::Storage;

constexpr std::int64_t kMaxChunkCache_bytes = std::int64_t{256} << 20;
constexpr std::int64_t kCheckBlock = 16384;  // elements

/// Buffers of one reading thread; they grow to the largest leaf and stay.
struct Scratch {
  std::vector<std::byte> bytes;
  std::vector<std::pair<std::int64_t, std::int64_t>> order;  // row, its place in the leaf
};

Scratch& thread_scratch() {
  thread_local Scratch scratch;
  return scratch;
}

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

/// One data set of the file: its rows, in memory or on disk.
class Column {
 public:
  Column(const h5::Handle& file, const std::string& file_name, const std::string& name)
      : name_(name),
        where_(cat(file_name, ": '", printable(name), "'")),
        open_(h5::open_dataset(file, file_name, name)) {}

  [[nodiscard]] const h5::Description& about() const { return open_.description; }
  [[nodiscard]] DType dtype() const { return about().element_type->dtype; }
  [[nodiscard]] std::int64_t rows() const { return about().dims[0]; }
  [[nodiscard]] std::int64_t row_numel() const { return about().row_numel(); }
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] bool cached() const { return cache_.data() != nullptr; }
  [[nodiscard]] const std::byte* cached_row(std::int64_t row) const {
    return cache_.data() + row * row_bytes_;
  }

  /// Reads the whole data set into memory and closes it.
  void load() {
    cache_ = Storage::allocate(about().bytes());
    h5::read_rows(open_, where_, 0, rows(), cache_.data());
    row_bytes_ = about().row_bytes();
    open_.handle.reset();
  }

  void drop_cache() { cache_ = Storage(); }

  /// Opens it again with a chunk cache fit for scattered rows.
  void prepare_scattered(const h5::Handle& file, const std::string& file_name) {
    row_bytes_ = about().row_bytes();
    if (about().chunk.empty()) return;
    std::int64_t chunk_bytes = static_cast<std::int64_t>(size_bytes(dtype()));
    for (const std::int64_t size : about().chunk) chunk_bytes *= size;
    const std::int64_t cache_bytes =
        std::clamp(std::max(32 * chunk_bytes, std::int64_t{1} << 20), chunk_bytes,
                   std::max(chunk_bytes, kMaxChunkCache_bytes));
    open_ = h5::open_dataset(file, file_name, name_, {.chunk_cache_bytes = cache_bytes});
  }

  /// Calls use(place, stored row) for each of the rows: sorted, and neighbours read together.
  template <typename Use>
  void for_rows(std::span<const std::int64_t> rows, const Use& use) const {
    if (cached()) {
      for (std::size_t i = 0; i < rows.size(); ++i) {
        use(static_cast<std::int64_t>(i), cached_row(rows[i]));
      }
      return;
    }
    Scratch& scratch = thread_scratch();
    scratch.order.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      scratch.order.emplace_back(rows[i], static_cast<std::int64_t>(i));
    }
    std::sort(scratch.order.begin(), scratch.order.end());
    for (std::size_t begin = 0; begin < scratch.order.size();) {
      const std::int64_t first = scratch.order[begin].first;
      std::size_t end = begin + 1;
      while (end < scratch.order.size() &&
             scratch.order[end].first <= scratch.order[end - 1].first + 1) {
        ++end;
      }
      const std::int64_t count = scratch.order[end - 1].first - first + 1;
      const auto needed = static_cast<std::size_t>(count * row_bytes_);
      if (scratch.bytes.size() < needed) scratch.bytes.resize(needed);
      h5::read_rows(open_, where_, first, count, scratch.bytes.data());
      for (; begin < end; ++begin) {
        const auto [row, place] = scratch.order[begin];
        use(place, scratch.bytes.data() + (row - first) * row_bytes_);
      }
    }
  }

  [[nodiscard]] std::uint64_t fingerprint(std::uint64_t seed) const {
    const std::string facts =
        cat(name_, "|", h5::shape_text(about().dims), "|", ::dlt::name(dtype()));
    const std::uint64_t hash = xxh3(facts, seed);
    if (!cached()) return hash;
    return xxh3({cache_.data(), static_cast<std::size_t>(about().bytes())}, hash);
  }

 private:
  std::string name_;
  std::string where_;
  h5::OpenDataset open_;
  Storage cache_;
  std::int64_t row_bytes_ = 0;
};

[[noreturn]] void refuse_number(const Column& column, std::int64_t row, std::int64_t element,
                                const std::byte* stored) {
  const std::string text = element_text(column.dtype(), stored);
  throw Error(Exit::data,
              cat(column.where(), " row ", row, ": element ", element, " is ", text,
                  ", expected a finite number",
                  text.find_first_of("ni") == std::string::npos ? " that fits 32 bits" : ""));
}

/// Checks the whole of a column in memory for NaN and infinity.
void check_cached_numbers(const Column& column, const Converter& converter) {
  if (!converter.may_be_non_finite()) return;
  std::vector<float> block(static_cast<std::size_t>(kCheckBlock));
  const std::int64_t total = column.about().numel();
  const auto size = static_cast<std::int64_t>(size_bytes(column.dtype()));
  const std::byte* stored = column.cached_row(0);
  for (std::int64_t begin = 0; begin < total; begin += kCheckBlock) {
    const std::int64_t count = std::min(kCheckBlock, total - begin);
    converter.to_f32(stored + begin * size, count, block.data());
    const std::int64_t bad = find_non_finite(block.data(), count);
    if (bad < 0) continue;
    const std::int64_t at = begin + bad;
    refuse_number(column, at / column.row_numel(), at % column.row_numel(), stored + at * size);
  }
}

class Hdf5Dataset final : public Dataset {
 public:
  explicit Hdf5Dataset(const DatasetOptions& options)
      : options_(options),
        file_(h5::open_file(options.file)),
        inputs_(file_, options.file, options.inputs),
        input_converter_(inputs_.dtype(), options.scale, options.offset),
        target_converter_(DType::f32, 1.0, 0.0) {
    check_shape(inputs_, options.input_shape, "the model's input");
    if (!options.targets.empty()) {
      targets_.emplace(file_, options.file, options.targets);
      target_converter_ = Converter(targets_->dtype(), 1.0, 0.0);
      check_targets();
    }
    load();
  }

  [[nodiscard]] std::int64_t num_rows() const override { return inputs_.rows(); }
  [[nodiscard]] Shape input_shape() const override { return inputs_.about().row_shape(); }
  [[nodiscard]] Shape target_shape() const override {
    if (!targets_ || options_.target_kind == TargetKind::labels) return {};
    return targets_->about().row_shape();
  }
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

  void read(std::span<const std::int64_t> rows, float* inputs, void* targets) const override {
    for (const std::int64_t row : rows) {
      DLT_CHECK(row >= 0 && row < num_rows(), "no such row");
    }
    read_numbers(inputs_, input_converter_, rows, inputs);
    if (!targets_ || targets == nullptr) return;
    if (options_.target_kind == TargetKind::values) {
      read_numbers(*targets_, target_converter_, rows, static_cast<float*>(targets));
      return;
    }
    auto* const labels = static_cast<std::int32_t*>(targets);
    if (targets_in_memory_) {
      for (std::size_t i = 0; i < rows.size(); ++i) {
        labels[i] = labels_[static_cast<std::size_t>(rows[i])];
      }
      return;
    }
    targets_->for_rows(rows, [&](std::int64_t place, const std::byte* stored) {
      convert_labels(stored, rows[static_cast<std::size_t>(place)], 1, labels + place);
    });
  }

 private:
  static void check_shape(const Column& column, const std::optional<Shape>& wanted,
                          std::string_view whose) {
    const Shape stored = column.about().row_shape();
    if (!wanted || fits(stored, *wanted)) return;
    throw Error(Exit::data, cat(column.where(), ": its rows have shape ", stored.text(), ", ",
                                whose, " has ", wanted->text()));
  }

  void check_targets() const {
    const Column& column = *targets_;
    if (column.rows() != inputs_.rows()) {
      throw Error(Exit::data, cat(column.where(), " has ", column.rows(), " rows, '",
                                  printable(options_.inputs), "' has ", inputs_.rows()));
    }
    if (options_.target_kind == TargetKind::values) {
      check_shape(column, options_.target_shape, "the loss's target");
      return;
    }
    if (column.row_numel() != 1) {
      throw Error(Exit::data,
                  cat(column.where(), ": its shape is ", h5::shape_text(column.about().dims),
                      ", expected one class label a row: [", column.rows(), "] or [", column.rows(),
                      ", 1]"),
                  "turn one-hot rows into class numbers, or use a loss that takes values");
    }
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
      check_cached_numbers(inputs_, input_converter_);
    } else {
      inputs_.prepare_scattered(file_, options_.file);
    }
    if (in_memory()) file_.reset();
  }

  void load_targets() {
    targets_->load();
    if (options_.target_kind == TargetKind::values) {
      check_cached_numbers(*targets_, target_converter_);
      return;
    }
    labels_.resize(static_cast<std::size_t>(num_rows()));
    convert_labels(targets_->cached_row(0), 0, num_rows(), labels_.data());
    targets_->drop_cache();
  }

  void convert_labels(const std::byte* stored, std::int64_t first_row, std::int64_t count,
                      std::int32_t* out) const {
    const std::int64_t most = std::int64_t{1} << 31;
    const std::int64_t limit = options_.num_classes > 0 ? options_.num_classes : most;
    const DType dtype = targets_->dtype();
    const std::int64_t bad = to_labels(dtype, stored, count, limit, out);
    if (bad < 0) return;
    const std::byte* at = stored + bad * static_cast<std::int64_t>(size_bytes(dtype));
    throw Error(Exit::data, cat(targets_->where(), " row ", first_row + bad, ": label ",
                                element_text(dtype, at), " is out of range, expected ",
                                options_.num_classes > 0 ? cat("0 to ", options_.num_classes - 1)
                                                         : std::string("a whole number from 0")));
  }

  static void read_numbers(const Column& column, const Converter& converter,
                           std::span<const std::int64_t> rows, float* out) {
    const std::int64_t numel = column.row_numel();
    const bool check = !column.cached() && converter.may_be_non_finite();
    column.for_rows(rows, [&](std::int64_t place, const std::byte* stored) {
      float* const to = out + place * numel;
      converter.to_f32(stored, numel, to);
      if (!check) return;
      const std::int64_t bad = find_non_finite(to, numel);
      if (bad < 0) return;
      refuse_number(column, rows[static_cast<std::size_t>(place)], bad,
                    stored + bad * static_cast<std::int64_t>(size_bytes(column.dtype())));
    });
  }

  DatasetOptions options_;
  h5::Handle file_;
  Column inputs_;
  std::optional<Column> targets_;
  Converter input_converter_;
  Converter target_converter_;
  bool targets_in_memory_ = false;
  std::vector<std::int32_t> labels_;
};

}  // namespace

std::unique_ptr<Dataset> open_hdf5(const DatasetOptions& options) {
  DLT_CHECK(std::isfinite(options.scale) && std::isfinite(options.offset),
            "scale and offset must be finite");
  return std::make_unique<Hdf5Dataset>(options);
}

}  // namespace dlt::data
