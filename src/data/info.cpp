// SPDX-License-Identifier: Apache-2.0
#include "data/info.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iomanip>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "data/convert.h"
#include "data/h5.h"
#include "data/tokenizer.h"

namespace dlt::data {
namespace {

constexpr std::int64_t kBlock_bytes = 4 << 20;

DatasetInfo::Range range_of(const h5::OpenDataset& dataset, const std::string& where) {
  const h5::Description& about = dataset.description;
  const DType dtype = about.element_type->dtype;
  const auto size = static_cast<std::int64_t>(size_bytes(dtype));
  const std::int64_t rows = about.dims[0];
  const std::int64_t block_rows =
      std::clamp<std::int64_t>(kBlock_bytes / about.row_bytes(), 1, rows);
  std::vector<std::byte> block(static_cast<std::size_t>(block_rows * about.row_bytes()));
  DatasetInfo::Range range{HUGE_VAL, -HUGE_VAL, 0.0, 0};
  std::int64_t num_finite = 0;
  for (std::int64_t first = 0; first < rows; first += block_rows) {
    const std::int64_t count = std::min(block_rows, rows - first);
    h5::read_rows(dataset, where, first, count, block.data());
    for (std::int64_t i = 0; i < count * about.row_numel(); ++i) {
      const double value = element_value(dtype, block.data() + i * size);
      if (!std::isfinite(value)) {
        ++range.num_non_finite;
        continue;
      }
      range.min = std::min(range.min, value);
      range.max = std::max(range.max, value);
      range.mean += value;
      ++num_finite;
    }
  }
  if (num_finite == 0) return {0.0, 0.0, 0.0, range.num_non_finite};
  range.mean /= static_cast<double>(num_finite);
  return range;
}

DatasetInfo describe_one(const h5::Handle& file, const std::string& file_name,
                         const std::string& path, const InfoOptions& options) {
  DatasetInfo out;
  out.path = path;
  try {
    const h5::Description about = h5::describe_dataset(file, file_name, path);
    out.shape = about.dims;
    out.type = about.type_text;
    out.layout = about.layout;
    out.chunk = about.chunk;
    out.filters = about.filters;
    out.bytes = about.bytes();
    out.stored_bytes = about.stored_bytes;
    out.defect = about.defect;
    if (out.defect.empty() && !about.dims.empty() && about.numel() == 0) out.defect = "has no rows";
    const bool readable = out.defect.empty() && about.element_type && about.numel() > 0;
    if (!readable || about.bytes() > options.max_range_bytes) return out;
    const h5::OpenDataset open = h5::open_dataset(file, file_name, path);
    out.range = range_of(open, cat(file_name, ": '", printable(path), "'"));
  } catch (const Error& error) {
    out.defect = error.what();
  }
  return out;
}

std::string storage_text(const DatasetInfo& info) {
  std::string text = info.layout;
  if (!info.chunk.empty()) text += cat(" ", h5::shape_text(info.chunk));
  if (!info.filters.empty()) text += cat(" ", join(info.filters, "+"));
  return text;
}

std::string range_text(const DatasetInfo& info) {
  if (!info.defect.empty()) return cat("unusable: ", printable(info.defect, 200));
  if (!info.range) return "";
  std::string text =
      cat("min ", info.range->min, "  max ", info.range->max, "  mean ", info.range->mean);
  if (info.range->num_non_finite > 0) {
    text += cat("  ", info.range->num_non_finite, " not finite");
  }
  return text;
}

/// What kind, and how its tokens begin; of byte pairs those that were learnt first.
std::string vocabulary_text(const std::string& file) {
  constexpr std::size_t kShown_bytes = 100;
  try {
    const std::optional<Tokenizer> found = find_vocabulary(file);
    if (!found) return "";
    const bool pairs = found->kind() == Tokenizer::Kind::byte_pairs && found->size() > 256;
    std::string shown;
    for (auto id = static_cast<std::int32_t>(pairs ? 256 : 0);
         id < found->size() && shown.size() < kShown_bytes; ++id) {
      shown += cat(shown.empty() ? "" : " ", "'", printable(found->bytes(id), 20), "'");
    }
    return cat(found->text(), ": ", pairs ? "... " : "", shown);
  } catch (const Error& error) {
    return cat("unusable: ", printable(error.what(), 200));
  }
}

}  // namespace

FileInfo describe(const std::string& file, const InfoOptions& options) {
  const h5::Handle handle = h5::open_file(file);
  const h5::Listing listing = h5::list_datasets(handle, options.max_datasets);
  FileInfo info;
  info.file = file;
  info.skipped = listing.skipped;
  info.vocabulary = vocabulary_text(file);
  info.cut = listing.cut;
  for (const std::string& path : listing.datasets) {
    info.datasets.push_back(describe_one(handle, file, path, options));
  }
  return info;
}

std::string to_text(const FileInfo& info) {
  std::vector<std::vector<std::string>> lines = {{"data set", "shape", "type", "stored", ""}};
  for (const DatasetInfo& item : info.datasets) {
    lines.push_back({printable(item.path), h5::shape_text(item.shape), item.type,
                     storage_text(item), range_text(item)});
  }
  std::vector<std::size_t> widths(lines[0].size(), 0);
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::ostringstream out;
  for (const auto& line : lines) {
    std::string text;
    for (std::size_t i = 0; i < line.size(); ++i) {
      text += line[i] + std::string(widths[i] - line[i].size() + 2, ' ');
    }
    out << text.substr(0, text.find_last_not_of(' ') + 1) << '\n';
  }
  if (!info.vocabulary.empty()) out << "vocabulary: " << info.vocabulary << '\n';
  for (const std::string& item : info.skipped) out << printable(item, 200) << '\n';
  if (info.cut) out << "... and more\n";
  return out.str();
}

}  // namespace dlt::data
