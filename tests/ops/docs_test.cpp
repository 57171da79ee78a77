// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "base/fs.h"
#include "ops/ops.h"
#include "support/op_samples.h"

namespace dlt::ops {
namespace {

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(' ');
  return first == std::string::npos ? ""
                                    : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

/// The first column of the table, rows of several names taken apart.
std::set<std::string> documented() {
  std::istringstream page(read_file("docs/ops.md"));
  std::set<std::string> names;
  for (std::string line; std::getline(page, line);) {
    if (line.rfind("| ", 0) != 0 || line.rfind("| op |", 0) == 0) continue;
    std::istringstream cell(line.substr(2, line.find(" |", 2) - 2));
    for (std::string name; std::getline(cell, name, ',');) names.insert(trimmed(name));
  }
  return names;
}

TEST(Ops, TableAndPageListTheSameNames) {
  std::set<std::string> names;
  const autodiff::OpTable table = make_op_table();
  for (const autodiff::OpDef& op : table.all()) names.emplace(op.name);
  EXPECT_EQ(names, documented());
}

TEST(Ops, DefFileIsAlphabetical) {
  std::vector<std::string> names;
#define DLT_OP(name) names.emplace_back(#name);
#include "ops/ops.def"
#undef DLT_OP
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

TEST(Ops, EveryOpHasASampleRow) {
  std::set<std::string> sampled;
  for (const support::OpSample& sample : support::op_samples()) sampled.insert(sample.op);
  const autodiff::OpTable table = make_op_table();
  for (const autodiff::OpDef& op : table.all()) {
    EXPECT_EQ(sampled.count(std::string(op.name)), 1u) << op.name;
  }
}

TEST(Ops, TableFindsByNameOnly) {
  const autodiff::OpTable table = make_op_table();
  EXPECT_EQ(table.find("matmul")->name, "matmul");
  EXPECT_EQ(table.find("matmu"), nullptr);
  EXPECT_EQ(table.find("zzz"), nullptr);
}

}  // namespace
}  // namespace dlt::ops
