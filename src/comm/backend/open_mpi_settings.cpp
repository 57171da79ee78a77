// SPDX-License-Identifier: Apache-2.0
#include "comm/backend/open_mpi_settings.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace dlt::comm {
namespace {

struct Setting {
  const char* name;
  const char* value;
};
constexpr Setting kSettings[] = {{"btl_tcp_eager_limit", "4194304"},
                                 {"btl_tcp_max_send_size", "4194304"}};
/// Whoever sets one of these has thought about how messages are cut.
constexpr const char* kUsers[] = {"btl_tcp_eager_limit", "btl_tcp_flags", "btl_tcp_max_send_size",
                                  "btl_tcp_min_rdma_pipeline_size", "btl_tcp_rndv_eager_limit"};

std::string variable(const char* parameter) { return std::string("OMPI_MCA_") + parameter; }

constexpr std::string_view kSpace = " \t\r";

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

/// Where Open MPI looks for parameters: its own list, else the user's file and the system's, which
/// lies where the library was configured to have it.
std::vector<std::string> parameter_files(const EnvLookup& lookup) {
  for (const char* name : {"OMPI_MCA_mca_base_param_files", "OMPI_MCA_mca_param_files"}) {
    const char* list = lookup(name);
    if (list == nullptr) continue;
    std::vector<std::string> files(1);
    for (const char c : std::string_view(list)) {
      if (c == ',' || c == ':') {
        files.emplace_back();
      } else {
        files.back() += c;
      }
    }
    return files;
  }
  std::vector<std::string> files;
  if (const char* home = lookup("HOME")) {
    files.push_back(std::string(home) + "/.openmpi/mca-params.conf");
  }
  std::vector<std::string> folders{"/etc/openmpi", "/usr/local/etc"};
  if (const char* folder = lookup("OPAL_SYSCONFDIR")) folders.emplace_back(folder);
  if (const char* prefix = lookup("OPAL_PREFIX")) folders.push_back(std::string(prefix) + "/etc");
  for (const std::string& folder : folders) files.push_back(folder + "/openmpi-mca-params.conf");
  return files;
}

}  // namespace

bool sets_parameter(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = line.find('=');
    if (equals != std::string_view::npos && trimmed(line.substr(0, equals)) == name) return true;
  }
  return false;
}

EnvSettings open_mpi_settings(const EnvLookup& lookup, const FileReader& read) {
  // A set of parameters named by mpirun -am is the user's, whatever is in it.
  if (lookup("OMPI_MCA_mca_base_param_file_prefix") != nullptr) return {};
  std::vector<std::string> texts;
  for (const std::string& path : parameter_files(lookup)) texts.push_back(read(path));
  for (const char* name : kUsers) {
    if (lookup(variable(name).c_str()) != nullptr) return {};
    for (const std::string& text : texts) {
      if (sets_parameter(text, name)) return {};
    }
  }
  EnvSettings out;
  for (const Setting& setting : kSettings) out.emplace_back(variable(setting.name), setting.value);
  return out;
}

void apply_open_mpi_settings() {
  const auto lookup = [](const char* name) -> const char* { return std::getenv(name); };
  const auto read = [](const std::string& path) {
    const std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  };
  for (const auto& [name, value] : open_mpi_settings(lookup, read)) {
    setenv(name.c_str(), value.c_str(), 0);
  }
}

}  // namespace dlt::comm
