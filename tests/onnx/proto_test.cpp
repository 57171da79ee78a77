// SPDX-License-Identifier: Apache-2.0
#include "onnx/proto.h"

#include <string>

#include <gtest/gtest.h>

#include "onnx/walker.h"

namespace dlt::onnx {
namespace {

TEST(Proto, WritesTheWireFormat) {
  ProtoWriter out;
  out.integer(1, 300);
  out.bytes(2, "testing");
  out.integers(4, {3, 270, 86942});
  out.number(5, 1.0f);
  // The examples of protobuf.dev/programming-guides/encoding.
  EXPECT_EQ(
      out.text(),
      std::string("\x08\xac\x02\x12\x07testing\x22\x06\x03\x8e\x02\x9e\xa7\x05\x2d\x00\x00\x80\x3f",
                  25));
}

TEST(Proto, NegativeNumbersTakeTenBytes) {
  ProtoWriter out;
  out.integer(1, -1);
  EXPECT_EQ(out.text().size(), 11u);
  EXPECT_EQ(static_cast<std::int64_t>(test::integer(out.text(), 1)), -1);
}

}  // namespace
}  // namespace dlt::onnx
