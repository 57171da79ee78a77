// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/parser.h"

namespace dlt::config {
namespace {

const char* const kFile =
    "run: {name: x, seed: 1}\n"
    "model:\n"
    "  input: [8, 8]\n"
    "  layers:\n"
    "    - flatten\n"
    "    - dense: {units: 64}\n"
    "log:\n"
    "none: []\n";

struct Outcome {
  Node root;
  std::string messages;
};

Outcome after(const std::vector<std::string>& overrides) {
  Diagnostics diagnostics;
  Outcome outcome;
  outcome.root = parse("f", kFile, diagnostics);
  for (const std::string& text : overrides) apply_override(outcome.root, text, diagnostics);
  outcome.messages = diagnostics.text();
  return outcome;
}

Node changed(const std::vector<std::string>& overrides) {
  Outcome outcome = after(overrides);
  EXPECT_EQ(outcome.messages, "");
  return std::move(outcome.root);
}

TEST(Override, ReplacesAValueAndKnowsItsPlace) {
  const Node root = changed({"run.seed=42"});
  const Node::Entry& seed = root.find("run")->entries[1];
  EXPECT_EQ(seed.value.scalar, "42");
  EXPECT_EQ(seed.value.mark.source, "--set");
  EXPECT_EQ(seed.value.mark.line, 1);
  EXPECT_EQ(seed.value.mark.column, 10);
  EXPECT_EQ(seed.value.mark.length, 2);
  EXPECT_EQ(seed.key_mark.source, "--set");
  EXPECT_EQ(seed.key_mark.column, 5);
  EXPECT_EQ(seed.key_mark.length, 4);
  EXPECT_EQ(root.find("run")->find("name")->scalar, "x");
}

TEST(Override, ValuesAreYaml) {
  const Node root =
      changed({"run.name='5'", "model.input=[4, {a: b}]", "run.seed=", "run.eq=a=b", "log={}"});
  EXPECT_TRUE(root.find("run")->find("name")->quoted);
  EXPECT_EQ(root.find("run")->find("name")->scalar, "5");
  EXPECT_EQ(root.find("model")->find("input")->items[1].find("a")->scalar, "b");
  EXPECT_EQ(root.find("model")->find("input")->items[1].find("a")->mark.column, 21);
  EXPECT_EQ(root.find("run")->find("seed")->kind, Kind::null);
  EXPECT_EQ(root.find("run")->find("eq")->scalar, "a=b");
  EXPECT_EQ(root.find("log")->kind, Kind::map);
}

TEST(Override, MakesMissingMaps) {
  const Node root = changed({"a.b.c=1", "a.b.d=2", "log.every_steps=5"});
  EXPECT_EQ(root.find("a")->find("b")->find("c")->scalar, "1");
  EXPECT_EQ(root.find("a")->find("b")->find("d")->scalar, "2");
  EXPECT_EQ(root.find("log")->find("every_steps")->scalar, "5");
  EXPECT_EQ(root.entries.back().key_mark.column, 1);
  EXPECT_EQ(root.entries.back().value.entries[0].key_mark.column, 3);
}

TEST(Override, ReachesIntoLists) {
  const Node root = changed({"model.layers.1.dense.units=5", "model.layers.0=relu"});
  EXPECT_EQ(root.find("model")->find("layers")->items[1].find("dense")->find("units")->scalar, "5");
  EXPECT_EQ(root.find("model")->find("layers")->items[0].scalar, "relu");
}

TEST(Override, LaterOnesWin) {
  EXPECT_EQ(changed({"run.seed=2", "run.seed=3"}).find("run")->find("seed")->scalar, "3");
  EXPECT_EQ(changed({"run.seed=2", "run={}"}).find("run")->entries.size(), 0u);
}

struct OverrideMistake {
  std::string text, expected;
};

TEST(Override, MistakesSayTheirColumn) {
  const OverrideMistake cases[] = {
      {"", "--set:1:1: error: expected KEY.KEY=VALUE, got ''\n"},
      {"run.seed", "--set:1:1: error: expected KEY.KEY=VALUE, got 'run.seed'\n"},
      {"=1", "--set:1:1: error: expected KEY.KEY=VALUE, got an empty key in '=1'\n"},
      {".a=1", "--set:1:1: error: expected KEY.KEY=VALUE, got an empty key in '.a=1'\n"},
      {"run..seed=1",
       "--set:1:5: error: expected KEY.KEY=VALUE, got an empty key in 'run..seed=1'\n"},
      {"run.=1", "--set:1:5: error: expected KEY.KEY=VALUE, got an empty key in 'run.=1'\n"},
      {"run.name.x=1", "--set:1:5: error: run.name: expected a map with the key 'x', got 'x'\n"},
      {"model.layers.0.units=1",
       "--set:1:14: error: model.layers.0: expected a map with the key 'units', got 'flatten'\n"},
      {"model.layers.2=1",
       "--set:1:14: error: model.layers.2: expected an integer from 0 to 1, got '2'\n"},
      {"model.layers.01=1",
       "--set:1:14: error: model.layers.01: expected an integer from 0 to 1, got '01'\n"},
      {"model.layers.-1=1",
       "--set:1:14: error: model.layers.-1: expected an integer from 0 to 1, got '-1'\n"},
      {"model.layers.dense.units=1",
       "--set:1:14: error: model.layers.dense: expected an integer from 0 to 1, got 'dense'\n"},
      {"none.0=1", "--set:1:6: error: none.0: expected nothing, the list is empty, got '0'\n"},
      {"run.seed=[1", "--set:1:10: error: run.seed: this bracket is never closed\n"},
      {"run.seed=*x", "--set:1:10: error: run.seed: aliases are not allowed\n"},
      {"run.seed=!!int 5", "--set:1:10: error: run.seed: tags are not allowed, got '!!int'\n"},
      {"run={a: 1, a: 2}", "--set:1:12: error: run.a: duplicate key, the first is at --set:1:6\n"},
      {"run.\xc3\xbc={a: 1, a: 2}",
       "--set:1:14: error: run.\xc3\xbc.a: duplicate key, the first is at --set:1:8\n"},
      {"run.\x1b=1", "--set:1:5: error: control characters are not allowed, got 'run.\\x1b=1'\n"},
      {"run\n=1", "--set:1:4: error: control characters are not allowed, got 'run\\n=1'\n"},
      {"run.seed=\xff", "--set:1:10: error: expected UTF-8, got 'run.seed=\\xff'\n"},
      {"run.seed=[1,\n2]",
       "--set:1:13: error: control characters are not allowed, got 'run.seed=[1,\\n2]'\n"},
  };
  for (const OverrideMistake& c : cases) {
    const Outcome outcome = after({c.text});
    // Some have a hint line, which other tests look at.
    EXPECT_EQ(outcome.messages.substr(0, outcome.messages.find('\n') + 1), c.expected);
  }
}

TEST(Override, AMistakenOneChangesNothing) {
  const std::string before = to_yaml(changed({}));
  for (const char* text :
       {"run.seed=[1", "new.run.", "model.layers.7.a=1", "run.name.x=1", "a.b"}) {
    EXPECT_EQ(to_yaml(after({text}).root), before) << text;
  }
}

TEST(Override, DeepPathsAreRefused) {
  std::string path = "a";
  for (int i = 0; i < 64; ++i) path += ".a";
  EXPECT_THAT(after({path + "=1"}).messages,
              testing::StartsWith("--set:1:129: error: lists and maps are nested deeper than 64"));
  EXPECT_THAT(after({path.substr(2) + "=[1]"}).messages,
              testing::HasSubstr("lists and maps are nested deeper than 64"));
  EXPECT_EQ(after({path.substr(2) + "=1"}).messages, "");
}

TEST(Override, UnknownKeysArePlacedAtTheirSegment) {
  Diagnostics diagnostics;
  Node root = parse("f", kFile, diagnostics);
  apply_override(root, "run.sed=2", diagnostics);
  MapReader reader(&root, "", {}, diagnostics);
  MapReader run = reader.map("run");
  (void)run.text("name");
  (void)run.integer("seed", {});
  run.finish();
  EXPECT_EQ(diagnostics.text(),
            "--set:1:5: error: run.sed: unknown key\n"
            "  hint: did you mean 'seed'?  legal: name, seed\n");
}

}  // namespace
}  // namespace dlt::config
