// SPDX-License-Identifier: Apache-2.0
// Builds a model, trains it to tell two spirals apart, and predicts.
#include <cmath>
#include <cstdio>
#include <vector>

#include <dltrain/network.h>

namespace {

struct Spirals {
  std::vector<float> points;         // [n, 2]
  std::vector<std::int32_t> labels;  // [n]
};

/// n points, every other one of the other arm; odd and even `turn` give points between each other.
Spirals make_spirals(int n, double turn) {
  Spirals out;
  for (int i = 0; i < n; ++i) {
    const double r = (i + turn) / n, angle = 6.0 * r + 3.14159265 * (i % 2);
    out.points.push_back(static_cast<float>(r * std::cos(angle)));
    out.points.push_back(static_cast<float>(r * std::sin(angle)));
    out.labels.push_back(i % 2);
  }
  return out;
}

}  // namespace

int main() try {
  const Spirals train = make_spirals(1000, 0.0), test = make_spirals(400, 0.5);

  dltrain::Network network(
      {.input = {2},
       .layers = {dltrain::dense(64, "relu"), dltrain::residual({dltrain::dense(64, "relu")}),
                  dltrain::dense(2)},
       .loss = "cross_entropy",
       .optimizer = "{name: adam, learning_rate: 0.005}",
       .metrics = {"accuracy"}});
  std::printf("%s\n", network.summary().c_str());

  (void)network.fit({.inputs = train.points, .labels = train.labels},
                    {.epochs = 100, .batch_size = 50});
  dltrain::Values values = network.evaluate({.inputs = test.points, .labels = test.labels});
  std::printf("test: loss %.4f, accuracy %.4f\n", values["loss"], values["accuracy"]);

  const std::vector<float> point{0.4f, 0.1f};
  const std::vector<float> logits = network.predict({.inputs = point});
  std::printf("(0.4, 0.1) belongs to arm %d\n", logits[1] > logits[0] ? 1 : 0);
  return values["accuracy"] > 0.95 ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
