// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <utility>

#include "base/text.h"

namespace dlt {

Error::Error(Exit exit, std::string message, std::string hint)
    : std::runtime_error(message), exit_(exit), hint_(std::move(hint)) {}

void check_failed(const char* file, int line, const char* expression, std::string_view detail) {
  throw Error(Exit::internal, cat(file, ":", line, ": internal error: '", expression,
                                  "' does not hold", detail.empty() ? "" : ": ", detail));
}

}  // namespace dlt
