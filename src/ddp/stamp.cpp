// SPDX-License-Identifier: Apache-2.0
#include "ddp/stamp.h"

#include "base/error.h"
#include "base/text.h"

namespace dlt::ddp {

void require_expected(const Stamp& got, int from, const Stamp& expected, int self) {
  if (got == expected) return;
  const auto describe = [&](const Stamp& stamp) {
    std::string text;
    if (got.generation != expected.generation) text += cat("generation ", stamp.generation, " ");
    text += cat("step ", stamp.step, " bucket ", stamp.bucket);
    if (got.sequence != expected.sequence) text += cat(" (message set ", stamp.sequence, ")");
    return text;
  };
  throw Error(Exit::internal, cat("rank ", from, " sent ", describe(got), ", rank ", self,
                                  " expected ", describe(expected)));
}

}  // namespace dlt::ddp
