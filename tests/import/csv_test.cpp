// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "import/files.h"
#include "import/import.h"

namespace dlt::import_ {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using testing::read_table;
using testing::Table;
using testing::TempDir;

CsvOptions csv(const TempDir& dir, const std::string& text) {
  CsvOptions options;
  options.input = dir.put("a.csv", text);
  options.output = dir.file("out.h5");
  return options;
}

TEST(Csv, SplitsInputsAndTargetsByName) {
  const TempDir dir;
  CsvOptions options = csv(dir, "a,y,b\n1,2,3\n4,5,6\n");
  options.targets = {"y"};
  (void)import_csv(options);
  EXPECT_THAT(read_table(options.output, "/train/x").numbers, ElementsAre(1, 3, 4, 6));
  const Table y = read_table(options.output, "/train/y");
  EXPECT_EQ(y.shape, (tensor::Shape{1}));
  EXPECT_THAT(y.numbers, ElementsAre(2, 5));
}

TEST(Csv, TakesFilesWithoutHeaderAndColumnsByNumber) {
  const TempDir dir;
  CsvOptions options = csv(dir, "1;2;3\r\n+4;-5e1;.5");
  options.delimiter = ';';
  options.targets = {"3"};
  (void)import_csv(options);
  EXPECT_THAT(read_table(options.output, "/train/x").numbers, ElementsAre(1, 2, 4, -50));
  EXPECT_THAT(read_table(options.output, "/train/y").numbers, ElementsAre(3, 0.5));
}

TEST(Csv, UnderstandsQuotes) {
  const TempDir dir;
  CsvOptions options = csv(dir, "\xEF\xBB\xBF\"a \"\"x\"\"\",\"b,\nc\"\n \"1\" ,2\n\n3, 4 \n");
  options.targets = {"b,\nc"};
  (void)import_csv(options);
  EXPECT_THAT(read_table(options.output, "/train/x").numbers, ElementsAre(1, 3));
  EXPECT_THAT(read_table(options.output, "/train/y").numbers, ElementsAre(2, 4));
}

TEST(Csv, OneHotMakesAColumnAWord) {
  const TempDir dir;
  CsvOptions options = csv(dir, "a,sea\n1,near\n2,far\n3,near\n");
  options.one_hot = {"sea"};
  const ImportReport report = import_csv(options);
  EXPECT_THAT(read_table(options.output, "/train/x").numbers,
              ElementsAre(1, 0, 1, 2, 1, 0, 3, 0, 1));
  EXPECT_THAT(report.notes, ElementsAre(HasSubstr("0 = far, 1 = near")));
}

TEST(Csv, WordsAsTargetBecomeClasses) {
  const TempDir dir;
  CsvOptions options = csv(dir, "a,kind\n1,setosa\n2,virginica\n3,setosa\n");
  options.targets = {"kind"};
  const ImportReport report = import_csv(options);
  EXPECT_THAT(read_table(options.output, "/train/y").numbers, ElementsAre(0, 1, 0));
  EXPECT_EQ(report.items[1].type, "i32");
  EXPECT_THAT(report.items[1].shape, ElementsAre(3));
  EXPECT_THAT(report.notes, ElementsAre(HasSubstr("0 = setosa, 1 = virginica")));
}

TEST(Csv, NumbersAsClassesStayTheNumbers) {
  const TempDir dir;
  CsvOptions options = csv(dir, "a,kind\n1,2\n2,0\n3,2\n");
  options.targets = {"kind"};
  options.target_labels = true;
  (void)import_csv(options);
  EXPECT_THAT(read_table(options.output, "/train/y").numbers, ElementsAre(2, 0, 2));
}

TEST(Csv, MissingValuesAreAnErrorUnlessToldWhatToDo) {
  const TempDir dir;
  CsvOptions options = csv(dir, "a,b\n1,2\n3,\n5,NaN\n6,4\n");
  EXPECT_REFUSED(import_csv(options), Exit::data, HasSubstr("a.csv:3:3: no value in column 'b'"),
                 HasSubstr("--missing drop"));
  options.missing = CsvOptions::Missing::drop;
  EXPECT_THAT(import_csv(options).notes, ElementsAre("dropped 2 rows with missing values"));
  EXPECT_THAT(read_table(options.output, "/train/x").numbers, ElementsAre(1, 2, 6, 4));
  options.missing = CsvOptions::Missing::mean;
  (void)import_csv(options);
  EXPECT_THAT(read_table(options.output, "/train/x").numbers, ElementsAre(1, 2, 3, 3, 5, 3, 6, 4));
}

TEST(Csv, StandardizesOverTheTrainingRows) {
  const TempDir dir;
  CsvOptions options = csv(dir, "a,b\n1,7\n3,7\n");
  options.standardize = true;
  (void)import_csv(options);
  EXPECT_THAT(read_table(options.output, "/train/x").numbers, ElementsAre(-1, 0, 1, 0));
}

TEST(Csv, SplitIsAFunctionOfTheSeed) {
  const TempDir dir;
  std::string text = "a,y\n";
  for (int i = 0; i < 50; ++i) text += std::to_string(i) + "," + std::to_string(2 * i) + "\n";
  CsvOptions options = csv(dir, text);
  options.targets = {"y"};
  options.split = {.test_fraction = 0.3, .seed = 4};
  (void)import_csv(options);
  const Table test = read_table(options.output, "/test/x");
  const Table train = read_table(options.output, "/train/x");
  EXPECT_EQ(test.rows, 15);
  EXPECT_EQ(train.rows, 35);
  std::vector<float> all = test.numbers;
  all.insert(all.end(), train.numbers.begin(), train.numbers.end());
  std::sort(all.begin(), all.end());
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(all[i], static_cast<float>(i));
  const Table y = read_table(options.output, "/test/y");
  for (std::size_t i = 0; i < 15; ++i) EXPECT_EQ(y.numbers[i], 2 * test.numbers[i]);
  options.split.seed = 5;
  (void)import_csv(options);
  EXPECT_NE(read_table(options.output, "/test/x").numbers, test.numbers);
}

TEST(Csv, RefusesMalformedFilesNamingThePlace) {
  const TempDir dir;
  const auto import = [&](const std::string& text) { return import_csv(csv(dir, text)); };
  EXPECT_REFUSED(import(""), Exit::data, HasSubstr("a.csv: is empty"));
  EXPECT_REFUSED(import("a,b\n"), Exit::data, HasSubstr("has no rows"));
  EXPECT_REFUSED(import("a,b\n1,2\n3\n"), Exit::data, HasSubstr("a.csv:3: 1 fields, expected 2"));
  EXPECT_REFUSED(import("a,b\n1,2,3\n"), Exit::data, HasSubstr("a.csv:2: 3 fields, expected 2"));
  EXPECT_REFUSED(import("a,b\n1,x\n"), Exit::data, HasSubstr("a.csv:2:3: 'x' is not a number"),
                 HasSubstr("--one-hot b"));
  EXPECT_REFUSED(import("a,b\n1,2x\n"), Exit::data, HasSubstr("'2x' is not a number"));
  EXPECT_REFUSED(import("a,b\n1,inf\n"), Exit::data, HasSubstr("a.csv:2:3"),
                 HasSubstr("not a finite number"));
  EXPECT_REFUSED(import("a,b\n1,1e99\n"), Exit::data, HasSubstr("not a finite number"));
  EXPECT_REFUSED(import("a,b\n1,\"2\n"), Exit::data, HasSubstr("a.csv:2:3"),
                 HasSubstr("never closed"));
  EXPECT_REFUSED(import("a,b\n1,\"2\"3\n"), Exit::data, HasSubstr("a.csv:2:6"),
                 HasSubstr("after a closing quote"));
  EXPECT_REFUSED(import(std::string("a,b\n1,\0002\n", 9)), Exit::data, HasSubstr("NUL"));
}

TEST(Csv, RefusesOptionsThatMakeNoSense) {
  const TempDir dir;
  CsvOptions options = csv(dir, "alpha,beta\n1,2\n");
  options.targets = {"bta"};
  EXPECT_REFUSED(import_csv(options), Exit::usage, HasSubstr("no column 'bta'"),
                 HasSubstr("did you mean 'beta'?"));
  options.targets = {"beta"};
  options.ignore = {"beta"};
  EXPECT_REFUSED(import_csv(options), Exit::usage, HasSubstr("named twice"));
  options.ignore = {"alpha"};
  EXPECT_REFUSED(import_csv(options), Exit::usage, HasSubstr("no column is left"));
  options.input = dir.file("nowhere.csv");
  EXPECT_REFUSED(import_csv(options), Exit::missing, HasSubstr("nowhere.csv: no such file"));
}

TEST(Csv, FillsGapsWithTheMedianOfTheTrainingRows) {
  const TempDir dir;
  CsvOptions options = csv(dir, "a,b\n1,0\n,0\n9,0\n2,0\n100,0\n");
  options.missing = CsvOptions::Missing::median;
  EXPECT_THAT(import_csv(options).notes, ElementsAre("column 'a': 1 missing values set to the "
                                                     "median, 5.5"));
  EXPECT_THAT(read_table(options.output, "/train/x").numbers,
              ElementsAre(1, 0, 5.5, 0, 9, 0, 2, 0, 100, 0));
}

TEST(Csv, MakesCodesOfWordsAndAMissingWordOneOfItsOwn) {
  const TempDir dir;
  CsvOptions options = csv(dir, "a,c\n1,red\n2,blue\n3,\n4,NA\n");
  options.codes = {"c"};
  EXPECT_REFUSED(import_csv(options), Exit::data, HasSubstr("a.csv:4:3: no value in column 'c'"),
                 HasSubstr("mean or median"));
  options.missing = CsvOptions::Missing::mean;
  options.standardize = true;  // codes stay as they are
  (void)import_csv(options);
  const auto x = read_table(options.output, "/train/x").numbers;
  EXPECT_THAT((std::vector<float>{x[1], x[3], x[5], x[7]}), ElementsAre(2, 1, 0, 0));
  options.codes.clear();
  options.one_hot = {"c"};
  (void)import_csv(options);
  EXPECT_EQ(read_table(options.output, "/train/x").shape, (tensor::Shape{4}));
}

TEST(Csv, StandardizesTargetsByTheTrainingRows) {
  const TempDir dir;
  CsvOptions options = csv(dir, "a,y\n0,10\n0,20\n0,30\n0,40\n");
  options.targets = {"y"};
  options.standardize_targets = true;
  EXPECT_THAT(import_csv(options).notes[0], HasSubstr("column 'y': standardized, mean 25"));
  const auto y = read_table(options.output, "/train/y").numbers;
  EXPECT_NEAR(y[0], -15 / std::sqrt(125.0), 1e-6);
  EXPECT_NEAR(y[3], 15 / std::sqrt(125.0), 1e-6);
  options.missing = CsvOptions::Missing::mean;
  options.input = dir.put("gap.csv", "a,y\n0,10\n0,\n");
  EXPECT_REFUSED(import_csv(options), Exit::data, HasSubstr("no value in column 'y'"));
}

TEST(Csv, ImportsCaliforniaHousingWhereItIs) {
  const std::string file = "../shared/datasets/tabular/california_housing.csv";
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file;
  const TempDir dir;
  CsvOptions options;
  options.input = file;
  options.output = dir.file("out.h5");
  options.targets = {"median_house_value"};
  options.one_hot = {"ocean_proximity"};
  options.missing = CsvOptions::Missing::median;
  options.standardize = true;
  options.standardize_targets = true;
  options.split.test_fraction = 0.2;
  (void)import_csv(options);
  EXPECT_EQ(read_table(options.output, "/train/x").rows, 16512);
  EXPECT_EQ(read_table(options.output, "/test/x").shape, (tensor::Shape{13}));
}

}  // namespace
}  // namespace dlt::import_
