// SPDX-License-Identifier: Apache-2.0
#include "launcher/import_report.h"

#include <iomanip>
#include <sstream>

namespace dlt::launcher {

std::string import_report_text(const import_::ImportReport& report) {
  std::ostringstream out;
  out << report.output << "\n";
  for (const auto& item : report.items) {
    out << "  " << std::left << std::setw(18) << item.name << " " << item.type << " [";
    for (std::size_t i = 0; i < item.shape.size(); ++i)
      out << (i == 0 ? "" : ", ") << item.shape[i];
    out << "]\n";
  }
  for (const std::string& note : report.notes) out << "  " << note << "\n";
  return out.str();
}

}  // namespace dlt::launcher
