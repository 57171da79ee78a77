// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "import/import.h"

namespace dlt::import_ {

enum class ColumnRole : std::uint8_t { number, one_hot, code, target_value, target_label, ignored };

struct CsvColumn {
  std::string name;
  ColumnRole role = ColumnRole::number;
  std::vector<float> numbers;      // number, target_value; NaN: missing
  std::vector<std::string> words;  // one_hot, code, target_label
};

struct CsvTable {
  std::vector<CsvColumn> columns;  // in the order of the file
  std::int64_t num_rows = 0;
  std::int64_t num_dropped = 0;  // rows with missing values, by CsvOptions::Missing::drop
};

/// Parses the file and gives each column its role. After it only columns of role `number` may hold
/// missing values (where options.missing is mean or median); a missing word is "".
[[nodiscard]] CsvTable read_csv_table(const CsvOptions& options);

}  // namespace dlt::import_
