// SPDX-License-Identifier: Apache-2.0
#include "import/csv_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "import/csv_reader.h"
#include "import/source_file.h"

namespace dlt::import_ {
namespace {

constexpr std::size_t kMaxColumns = 1000000;

std::optional<double> parse_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

bool is_missing(const CsvField& field) {
  if (field.text.empty()) return true;
  if (field.text.size() > 4) return false;
  std::string lower = field.text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower == "na" || lower == "n/a" || lower == "nan" || lower == "null" || lower == "?";
}

bool is_header(const CsvOptions& options, const std::vector<CsvField>& first) {
  if (options.header != CsvOptions::Header::automatic) {
    return options.header == CsvOptions::Header::yes;
  }
  return std::none_of(first.begin(), first.end(),
                      [](const CsvField& field) { return parse_number(field.text).has_value(); });
}

/// A column by its name, or by its number counted from 1.
std::size_t find_column(const CsvOptions& options, const std::vector<CsvColumn>& columns,
                        const std::string& wanted) {
  std::vector<std::string> names;
  std::size_t found = columns.size();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    names.push_back(columns[i].name);
    if (columns[i].name != wanted) continue;
    if (found != columns.size()) {
      throw Error(Exit::usage, cat(options.input, ": several columns are named '",
                                   printable(wanted), "'; name it by its number"));
    }
    found = i;
  }
  if (found != columns.size()) return found;
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), number);
  if (error == std::errc{} && end == wanted.data() + wanted.size() && number >= 1 &&
      number <= columns.size()) {
    return number - 1;
  }
  const std::string close_name = nearest(wanted, names);
  if (names.size() > 20) {
    names.resize(20);
    names.emplace_back("...");
  }
  throw Error(Exit::usage,
              cat(options.input, ": no column '", printable(wanted), "'; there are ",
                  printable(join(names), 400), ", or 1 to ", columns.size()),
              close_name.empty() ? "" : cat("did you mean '", printable(close_name), "'?"));
}

void give_roles(const CsvOptions& options, std::vector<CsvColumn>& columns) {
  const auto give = [&](const std::string& wanted, ColumnRole role) {
    CsvColumn& column = columns[find_column(options, columns, wanted)];
    if (column.role != ColumnRole::number) {
      throw Error(Exit::usage,
                  cat(options.input, ": column '", printable(wanted), "' is named twice"));
    }
    column.role = role;
  };
  for (const std::string& name : options.ignore) give(name, ColumnRole::ignored);
  for (const std::string& name : options.one_hot) give(name, ColumnRole::one_hot);
  for (const std::string& name : options.codes) give(name, ColumnRole::code);
  for (const std::string& name : options.targets) {
    give(name, options.target_labels ? ColumnRole::target_label : ColumnRole::target_value);
  }
  if (options.target_labels && options.targets.size() != 1) {
    throw Error(Exit::usage, cat("import csv: class labels need one target column, got ",
                                 options.targets.size()));
  }
}

/// A single target column that begins with a word holds classes.
void guess_label(const CsvOptions& options, const std::vector<CsvField>& fields,
                 std::vector<CsvColumn>& columns) {
  if (options.targets.size() != 1) return;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].role == ColumnRole::target_value && !is_missing(fields[i]) &&
        !parse_number(fields[i].text)) {
      columns[i].role = ColumnRole::target_label;
    }
  }
}

class TableBuilder {
 public:
  TableBuilder(const CsvOptions& options, const CsvReader& reader, CsvTable& table)
      : options_(options), reader_(reader), table_(table) {}

  void add(const std::vector<CsvField>& fields) {
    std::vector<CsvColumn>& columns = table_.columns;
    if (fields.size() != columns.size()) {
      throw Error(Exit::data, cat(options_.input, ":", fields[0].line, ": ", fields.size(),
                                  " fields, expected ", columns.size()));
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (columns[i].role == ColumnRole::ignored || !is_missing(fields[i])) continue;
      if (options_.missing == CsvOptions::Missing::drop) {
        ++table_.num_dropped;
        return;
      }
      const bool is_target = columns[i].role == ColumnRole::target_value ||
                             columns[i].role == ColumnRole::target_label;
      if (options_.missing == CsvOptions::Missing::error || is_target) {
        refuse_missing(fields[i], columns[i]);
      }
    }
    for (std::size_t i = 0; i < columns.size(); ++i) add_field(fields[i], columns[i]);
    ++table_.num_rows;
  }

 private:
  void add_field(const CsvField& field, CsvColumn& column) const {
    switch (column.role) {
      case ColumnRole::ignored:
        return;
      case ColumnRole::one_hot:
      case ColumnRole::code:
      case ColumnRole::target_label:
        column.words.push_back(is_missing(field) ? "" : field.text);
        return;
      case ColumnRole::number:
      case ColumnRole::target_value:
        column.numbers.push_back(is_missing(field) ? std::numeric_limits<float>::quiet_NaN()
                                                   : number(field, column));
    }
  }

  [[nodiscard]] float number(const CsvField& field, const CsvColumn& column) const {
    const std::optional<double> value = parse_number(field.text);
    if (!value) {
      throw Error(Exit::data,
                  cat(reader_.where(field), ": '", printable(field.text),
                      "' is not a number (column '", printable(column.name), "')"),
                  cat("for a column of words: --one-hot ", printable(column.name), ", --codes ",
                      printable(column.name), " or --ignore ", printable(column.name)));
    }
    const float narrow = static_cast<float>(*value);
    if (!std::isfinite(narrow)) {
      throw Error(Exit::data, cat(reader_.where(field), ": '", printable(field.text),
                                  "' is not a finite number of 32 bits (column '",
                                  printable(column.name), "')"));
    }
    return narrow;
  }

  [[noreturn]] void refuse_missing(const CsvField& field, const CsvColumn& column) const {
    throw Error(
        Exit::data,
        cat(reader_.where(field), ": no value in column '", printable(column.name), "'"),
        column.role == ColumnRole::target_value || column.role == ColumnRole::target_label
            ? "--missing drop leaves such rows out"
            : "--missing drop leaves such rows out, --missing mean or median fills them in");
  }

  const CsvOptions& options_;
  const CsvReader& reader_;
  CsvTable& table_;
};

}  // namespace

CsvTable read_csv_table(const CsvOptions& options) {
  CsvReader reader(options.input, read_whole(options.input), options.delimiter);
  std::vector<CsvField> fields;
  if (!reader.next(fields)) throw Error(Exit::data, cat(options.input, ": is empty"));
  if (fields.size() > kMaxColumns) {
    throw Error(Exit::data, cat(options.input, ":1: more than ", kMaxColumns, " columns"));
  }
  CsvTable table;
  const bool has_header = is_header(options, fields);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    table.columns.emplace_back();
    table.columns.back().name = has_header ? fields[i].text : std::to_string(i + 1);
  }
  give_roles(options, table.columns);
  bool more = has_header ? reader.next(fields) : true;
  if (more && fields.size() == table.columns.size()) guess_label(options, fields, table.columns);
  TableBuilder builder(options, reader, table);
  for (; more; more = reader.next(fields)) builder.add(fields);
  if (table.num_rows == 0) {
    throw Error(Exit::data, cat(options.input, ": has no rows",
                                table.num_dropped > 0 ? " without missing values" : ""));
  }
  return table;
}

}  // namespace dlt::import_
