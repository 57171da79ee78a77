// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "data/writer.h"
#include "import/csv_table.h"
#include "import/import.h"
#include "import/parts.h"

namespace dlt::import_ {
namespace {

constexpr std::size_t kMaxWords = 1000;

/// The different words of a column, sorted.
std::vector<std::string> vocabulary(const CsvOptions& options, const CsvColumn& column) {
  const std::set<std::string> words(column.words.begin(), column.words.end());
  if (words.size() > kMaxWords) {
    throw Error(Exit::data, cat(options.input, ": column '", printable(column.name), "' holds ",
                                words.size(), " different words, expected at most ", kMaxWords));
  }
  return {words.begin(), words.end()};
}

std::size_t place_of(const std::vector<std::string>& words, const std::string& word) {
  return static_cast<std::size_t>(std::lower_bound(words.begin(), words.end(), word) -
                                  words.begin());
}

std::string word_list(const std::vector<std::string>& words) {
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < words.size() && i < 20; ++i) {
    shown.push_back(cat(i, " = ", printable(words[i], 40)));
  }
  if (words.size() > shown.size()) shown.emplace_back("...");
  return join(shown);
}

/// Of the values that are there, over the training rows.
struct Moments {
  double mean = 0.0;
  double deviation = 0.0;
  double median = 0.0;
};
Moments moments(const CsvOptions& options, const CsvColumn& column,
                const std::vector<std::int64_t>& rows) {
  std::vector<double> values;
  for (const std::int64_t row : rows) {
    const float value = column.numbers[static_cast<std::size_t>(row)];
    if (!std::isnan(value)) values.push_back(static_cast<double>(value));
  }
  if (values.empty()) {
    throw Error(Exit::data, cat(options.input, ": column '", printable(column.name),
                                "' has no value in any training row"));
  }
  Moments out;
  const auto count = static_cast<double>(values.size());
  for (const double value : values) out.mean += value;
  out.mean /= count;
  for (const double value : values) out.deviation += (value - out.mean) * (value - out.mean);
  out.deviation = std::sqrt(out.deviation / count);
  std::sort(values.begin(), values.end());
  out.median = 0.5 * (values[(values.size() - 1) / 2] + values[values.size() / 2]);
  return out;
}

/// Fills gaps, and standardizes, as the options say.
void prepare_numbers(const CsvOptions& options, CsvColumn& column,
                     const std::vector<std::int64_t>& train_rows, ImportReport& report) {
  const bool standardize =
      column.role == ColumnRole::target_value ? options.standardize_targets : options.standardize;
  const auto gaps = std::count_if(column.numbers.begin(), column.numbers.end(),
                                  [](float value) { return std::isnan(value); });
  if (gaps == 0 && !standardize) return;
  const Moments known = moments(options, column, train_rows);
  const bool median = options.missing == CsvOptions::Missing::median;
  const double filling = median ? known.median : known.mean;
  for (float& value : column.numbers) {
    double number = std::isnan(value) ? filling : static_cast<double>(value);
    if (standardize) {
      number = known.deviation > 0.0 ? (number - known.mean) / known.deviation : 0.0;
    }
    value = static_cast<float>(number);
  }
  if (gaps > 0) {
    report.notes.push_back(cat("column '", printable(column.name), "': ", gaps,
                               " missing values set to the ", median ? "median, " : "mean, ",
                               filling));
  }
  if (standardize) {
    report.notes.push_back(cat("column '", printable(column.name), "': standardized, mean ",
                               known.mean, ", deviation ", known.deviation));
  }
}

/// One row after the other from whole columns.
Rows interleave(const std::vector<std::vector<float>>& columns, std::int64_t num_rows) {
  std::vector<float> values(columns.size() * static_cast<std::size_t>(num_rows));
  for (std::size_t c = 0; c < columns.size(); ++c) {
    for (std::size_t r = 0; r < static_cast<std::size_t>(num_rows); ++r) {
      values[r * columns.size() + c] = columns[c][r];
    }
  }
  return {DType::f32, num_rows, tensor::Shape{static_cast<std::int64_t>(columns.size())},
          to_bytes(values)};
}

Rows features(const CsvOptions& options, CsvTable& table,
              const std::vector<std::int64_t>& train_rows, ImportReport& report) {
  std::vector<std::vector<float>> columns;
  for (CsvColumn& column : table.columns) {
    if (column.role == ColumnRole::number) {
      prepare_numbers(options, column, train_rows, report);
      columns.push_back(std::move(column.numbers));
    } else if (column.role == ColumnRole::code) {
      const std::vector<std::string> words = vocabulary(options, column);
      columns.emplace_back();
      for (const std::string& word : column.words) {
        columns.back().push_back(static_cast<float>(place_of(words, word)));
      }
      report.notes.push_back(cat("column '", printable(column.name), "': feature ",
                                 columns.size() - 1, ", a number a word: ", word_list(words)));
    } else if (column.role == ColumnRole::one_hot) {
      const std::vector<std::string> words = vocabulary(options, column);
      const std::size_t first = columns.size();
      columns.resize(first + words.size(),
                     std::vector<float>(static_cast<std::size_t>(table.num_rows), 0.0f));
      for (std::size_t row = 0; row < column.words.size(); ++row) {
        columns[first + place_of(words, column.words[row])][row] = 1.0f;
      }
      report.notes.push_back(cat("column '", printable(column.name), "': features ", first, " to ",
                                 columns.size() - 1, ", one a word: ", word_list(words)));
    }
  }
  if (columns.empty()) {
    throw Error(Exit::usage, cat(options.input, ": no column is left for the inputs"));
  }
  return interleave(columns, table.num_rows);
}

/// Class numbers as they are, or the places of the words in their sorted list.
Rows label_column(const CsvOptions& options, const CsvColumn& column, std::int64_t num_rows,
                  ImportReport& report) {
  std::vector<std::int32_t> numbers;
  for (const std::string& word : column.words) {
    std::int32_t number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc{} || end != word.data() + word.size() || number < 0) break;
    numbers.push_back(number);
  }
  if (numbers.size() != column.words.size()) {
    numbers.clear();
    const std::vector<std::string> words = vocabulary(options, column);
    for (const std::string& word : column.words) {
      numbers.push_back(static_cast<std::int32_t>(place_of(words, word)));
    }
    report.notes.push_back(cat("classes of '", printable(column.name), "': ", word_list(words)));
  }
  return {DType::i32, num_rows, tensor::Shape{}, to_bytes(numbers)};
}

}  // namespace

ImportReport import_csv(const CsvOptions& options) {
  if (options.input.empty()) throw Error(Exit::usage, "import csv: no input file is named");
  if (options.delimiter == '"' || options.delimiter == '\n' || options.delimiter == '\r') {
    throw Error(Exit::usage, "import csv: the delimiter cannot be a quote or a line end");
  }
  check_output(options.output, {options.input});
  ImportReport report;
  report.output = options.output;
  CsvTable table = read_csv_table(options);
  if (table.num_dropped > 0) {
    report.notes.push_back(cat("dropped ", table.num_dropped, " rows with missing values"));
  }
  const Split split = split_rows(table.num_rows, options.split);
  data::Hdf5Writer writer(options.output);
  write_split(writer, {"x", options.deflate_level}, features(options, table, split.train, report),
              split, report);
  std::vector<std::vector<float>> values;
  for (CsvColumn& column : table.columns) {
    if (column.role == ColumnRole::target_value) {
      prepare_numbers(options, column, split.train, report);
      values.push_back(std::move(column.numbers));
    }
    if (column.role == ColumnRole::target_label) {
      write_split(writer, {"y", options.deflate_level},
                  label_column(options, column, table.num_rows, report), split, report);
    }
  }
  if (!values.empty()) {
    write_split(writer, {"y", options.deflate_level}, interleave(values, table.num_rows), split,
                report);
  }
  writer.commit();
  return report;
}

}  // namespace dlt::import_
