// SPDX-License-Identifier: Apache-2.0
#include "import/name_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "import/files.h"

namespace dlt::import_ {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(NamePattern, TakesFieldsFromTheName) {
  const NamePattern pattern("{label}_{speaker}_{index}.wav");
  EXPECT_THAT(pattern.fields_of("a/b_c/7_jackson_32.wav"),
              ElementsAre(Pair("index", "32"), Pair("label", "7"), Pair("speaker", "jackson")));
  EXPECT_TRUE(pattern.has("index"));
  EXPECT_FALSE(pattern.has("indx"));
  EXPECT_THAT(NamePattern("x-{label}.wav").fields_of("x-a.wav.wav"),
              ElementsAre(Pair("label", "a.wav")));
  EXPECT_THAT(NamePattern("{label}").fields_of("dir/yes"), ElementsAre(Pair("label", "yes")));
}

TEST(NamePattern, TakesFieldsFromFolders) {
  const NamePattern pattern("{label}/{speaker}_nohash_{index}.wav");
  EXPECT_THAT(pattern.fields_of("/data/yes/0a7c_nohash_0.wav"),
              ElementsAre(Pair("index", "0"), Pair("label", "yes"), Pair("speaker", "0a7c")));
  EXPECT_THAT(pattern.fields_of("yes/a_nohash_1.wav").at("label"), "yes");
}

TEST(NamePattern, RefusesNamesThatDoNotFit) {
  const NamePattern pattern("{label}_{index}.wav");
  for (const char* const name : {"7.wav", "7_.wav", "_3.wav", "7_3.mp3", "7_3.wavx", ""}) {
    EXPECT_REFUSED(pattern.fields_of(name), Exit::data, HasSubstr("does not fit the pattern"));
  }
}

TEST(NamePattern, RefusesBrokenPatterns) {
  for (const char* const pattern : {"{label", "label}", "{}", "{a}{b}", "{a}_{a}", "{a{b}}"}) {
    EXPECT_REFUSED(NamePattern(pattern), Exit::usage, HasSubstr(pattern));
  }
}

TEST(FieldRule, ComparesNumbersAndWords) {
  EXPECT_TRUE(FieldRule("index<5").holds("4", "p"));
  EXPECT_FALSE(FieldRule("index<5").holds("10", "p"));
  EXPECT_TRUE(FieldRule("index<=5").holds("5", "p"));
  EXPECT_TRUE(FieldRule("index>9").holds("10", "p"));
  EXPECT_TRUE(FieldRule("index>=9.5").holds("9.5", "p"));
  EXPECT_TRUE(FieldRule("speaker=theo").holds("theo", "p"));
  EXPECT_TRUE(FieldRule("speaker==theo").holds("theo", "p"));
  EXPECT_TRUE(FieldRule("speaker!=theo").holds("jackson", "p"));
  EXPECT_EQ(FieldRule("index<5").field(), "index");
  EXPECT_REFUSED(FieldRule("index<5").holds("x", "p.wav"), Exit::data, HasSubstr("p.wav: field"));
}

TEST(FieldRule, RefusesWhatIsNone) {
  for (const char* const rule :
       {"", "index", "<5", "index<", "index!5", "index<five", "index<<5"}) {
    EXPECT_REFUSED(FieldRule(rule), Exit::usage, HasSubstr("expected FIELD"));
  }
}

}  // namespace
}  // namespace dlt::import_
