// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/h5.h"
#include "tensor/storage.h"

namespace dlt::data {

/// One data set of a file: its samples, in memory or on disk. A sample is `extent` stored rows that
/// begin at row number * stride.
class Column {
 public:
  struct Samples {
    std::int64_t extent = 1;
    std::int64_t stride = 1;
  };
  Column(const h5::Handle& file, const std::string& file_name, const std::string& name,
         const Samples& samples);

  [[nodiscard]] const h5::Description& about() const { return open_.description; }
  [[nodiscard]] DType dtype() const { return about().element_type->dtype; }
  /// Stored rows, and samples in them.
  [[nodiscard]] std::int64_t rows() const { return about().dims[0]; }
  [[nodiscard]] std::int64_t num_samples() const;
  /// Elements and bytes of one stored row.
  [[nodiscard]] std::int64_t row_numel() const { return about().row_numel(); }
  [[nodiscard]] std::int64_t row_bytes() const { return about().row_bytes(); }
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] bool cached() const { return cache_.data() != nullptr; }
  [[nodiscard]] const std::byte* cached_row(std::int64_t row) const {
    return cache_.data() + row * row_bytes_;
  }
  [[nodiscard]] std::int64_t first_row(std::int64_t sample) const {
    return sample * samples_.stride;
  }
  /// "row 17", with the element in it where a row has several: "row 17 element 3".
  [[nodiscard]] std::string place_text(std::int64_t row, std::int64_t element) const;

  /// Reads the whole data set into memory and closes it.
  void load();
  void drop_cache() { cache_ = tensor::Storage(); }
  /// Opens it again with a chunk cache fit for scattered rows.
  void prepare_scattered(const h5::Handle& file, const std::string& file_name);

  /// Hash of name, shape and type, and of the bytes where they are cached.
  [[nodiscard]] std::uint64_t fingerprint(std::uint64_t seed) const;

  /// Calls use(place, first stored row of the sample) for each of the samples: sorted, and
  /// neighbours read together.
  template <typename Use>
  void for_samples(std::span<const std::int64_t> samples, const Use& use) const {
    if (cached()) {
      for (std::size_t i = 0; i < samples.size(); ++i) {
        use(static_cast<std::int64_t>(i), cached_row(first_row(samples[i])));
      }
      return;
    }
    Scratch& scratch = thread_scratch();
    scratch.order.clear();
    for (std::size_t i = 0; i < samples.size(); ++i) {
      scratch.order.emplace_back(first_row(samples[i]), static_cast<std::int64_t>(i));
    }
    std::sort(scratch.order.begin(), scratch.order.end());
    for (std::size_t begin = 0; begin < scratch.order.size();) {
      const std::int64_t first = scratch.order[begin].first;
      std::size_t end = begin + 1;
      while (end < scratch.order.size() &&
             scratch.order[end].first <= scratch.order[end - 1].first + samples_.extent) {
        ++end;
      }
      read(first, scratch.order[end - 1].first + samples_.extent - first, scratch.bytes);
      for (; begin < end; ++begin) {
        use(scratch.order[begin].second,
            scratch.bytes.data() + (scratch.order[begin].first - first) * row_bytes_);
      }
    }
  }

 private:
  /// Buffers of one reading thread; they grow to the largest leaf and stay.
  struct Scratch {
    std::vector<std::byte> bytes;
    std::vector<std::pair<std::int64_t, std::int64_t>> order;  // first row, its place in the leaf
  };
  static Scratch& thread_scratch();
  void read(std::int64_t first, std::int64_t count, std::vector<std::byte>& out) const;

  std::string name_;
  std::string where_;
  Samples samples_;
  h5::OpenDataset open_;
  tensor::Storage cache_;
  std::int64_t row_bytes_ = 0;
};

}  // namespace dlt::data
