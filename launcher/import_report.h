// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "import/import.h"

namespace dlt::launcher {

/// "datasets/x.h5", then a line a data set: "  /train/x  f32 [100, 10]", then the notes.
[[nodiscard]] std::string import_report_text(const import_::ImportReport& report);

}  // namespace dlt::launcher
