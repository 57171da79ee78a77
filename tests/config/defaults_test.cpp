// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "config/node.h"

namespace dlt::config {
namespace {

/// The resolved text of a file after read has asked for its keys.
template <typename Read>
std::string resolved(const std::string& text, Read read) {
  Diagnostics diagnostics;
  Node root = parse("f", text, diagnostics);
  MapReader reader(&root, "", root.mark, diagnostics);
  read(reader);
  EXPECT_EQ(diagnostics.text(), "");
  add_defaults(root, diagnostics);
  return to_yaml(root);
}

TEST(Defaults, EveryKeyAskedForIsInTheResolvedTree) {
  EXPECT_EQ(resolved("train: {epochs: 5}\n",
                     [](MapReader& reader) {
                       MapReader train = reader.map("train");
                       (void)train.integer("epochs", {}, 1);
                       (void)train.integer("steps", {}, -3);
                       (void)train.number("rate", {}, 1e-8);
                       (void)train.boolean("overlap", true);
                       (void)train.text("device", "cpu");
                       (void)train.text("tag", "5");
                       (void)train.text("note", "");
                       (void)train.choice("precision", {"f32", "bf16"}, "f32");
                       (void)train.integer_or_auto("threads", {});
                       (void)train.number_or_auto("bucket_mb", {});
                       (void)train.integers("shape", {}, std::vector<std::int64_t>{8, 8});
                       (void)train.numbers("betas", {}, std::vector<double>{0.9, 0.999});
                       (void)reader.map("log").integer("every_steps", {}, 10);
                     }),
            "train:\n"
            "  epochs: 5\n"
            "  steps: -3\n"
            "  rate: 1e-08\n"
            "  overlap: true\n"
            "  device: cpu\n"
            "  tag: \"5\"\n"
            "  note: \"\"\n"
            "  precision: f32\n"
            "  threads: auto\n"
            "  bucket_mb: auto\n"
            "  shape: [8, 8]\n"
            "  betas: [0.9, 0.999]\n"
            "log:\n"
            "  every_steps: 10\n");
}

TEST(Defaults, AWordBecomesTheMapItStandsFor) {
  Diagnostics diagnostics;
  Node root = parse("f", "optimizer: adam\nlayers: [flatten, relu]\n", diagnostics);
  diagnostics.note_default("optimizer.eps", default_node(1e-8));
  diagnostics.note_default("layers.1.relu.alpha", default_node(std::int64_t{0}));
  add_defaults(root, diagnostics);
  EXPECT_EQ(to_yaml(root),
            "optimizer:\n"
            "  name: adam\n"
            "  eps: 1e-08\n"
            "layers:\n"
            "  - flatten\n"
            "  - relu:\n"
            "      alpha: 0\n");
}

TEST(Defaults, WhatTheFileSaysStays) {
  Diagnostics diagnostics;
  Node root = parse("f", "a: 1\nl: [x]\n", diagnostics);
  diagnostics.note_default("a", default_node(std::int64_t{2}));
  diagnostics.note_default("l.7", default_node(std::int64_t{2}));
  add_defaults(root, diagnostics);
  EXPECT_EQ(to_yaml(root), "a: 1\nl: [x]\n");
}

}  // namespace
}  // namespace dlt::config
