// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dlt::data {

class Hdf5Writer;

/// Texts in an HDF5 file: GROUP/text u8, the bytes of all of them, and GROUP/ends u32, where in it
/// each ends. At least one, and not all empty.
void write_text_list(Hdf5Writer& writer, const std::string& group,
                     const std::vector<std::string>& texts);
/// errors  Error(Exit::missing) no such file; Error(Exit::data) there is no such list, or the ends
/// do not cut the text
[[nodiscard]] std::vector<std::string> read_text_list(const std::string& file,
                                                      const std::string& group);

/// A whole data set of whole numbers from 0 to below 2^31.
struct WholeNumbers {
  std::vector<std::int32_t> values;
  std::vector<std::int64_t> dims;
};
[[nodiscard]] WholeNumbers read_whole_numbers(const std::string& file, const std::string& name);

}  // namespace dlt::data
