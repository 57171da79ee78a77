// SPDX-License-Identifier: Apache-2.0
#include "data/text_list.h"

#include "base/error.h"
#include "base/text.h"
#include "data/convert.h"
#include "data/h5.h"
#include "data/writer.h"

namespace dlt::data {
namespace {

constexpr std::int64_t kMaxNumbers = std::int64_t{1} << 28;

}  // namespace

WholeNumbers read_whole_numbers(const std::string& file, const std::string& name) {
  const h5::Handle handle = h5::open_file(file);
  const h5::OpenDataset open = h5::open_dataset(handle, file, name);
  const h5::Description& about = open.description;
  const std::string where = cat(file, ": '", name, "'");
  if (about.numel() > kMaxNumbers) {
    throw Error(Exit::data, cat(where, ": ", about.numel(), " numbers are too many"));
  }
  std::vector<std::byte> stored(static_cast<std::size_t>(about.bytes()));
  h5::read_rows(open, where, 0, about.dims[0], stored.data());
  WholeNumbers out{std::vector<std::int32_t>(static_cast<std::size_t>(about.numel())), about.dims};
  const std::int64_t bad =
      to_labels(about.element_type->dtype, stored.data(), about.numel(), {}, out.values.data());
  if (bad < 0) return out;
  throw Error(Exit::data, cat(where, ": element ", bad, " is no whole number from 0"));
}

std::vector<std::string> read_text_list(const std::string& file, const std::string& group) {
  std::string text;
  for (const std::int32_t byte : read_whole_numbers(file, group + "/text").values) {
    if (byte > 255) {
      throw Error(Exit::data, cat(file, ": '", group, "/text': ", byte, " is no byte"));
    }
    text.push_back(static_cast<char>(byte));
  }
  std::vector<std::string> texts;
  std::size_t begin = 0;
  const std::vector<std::int32_t> ends = read_whole_numbers(file, group + "/ends").values;
  for (const std::int32_t end : ends) {
    const auto to = static_cast<std::size_t>(end);
    if (to < begin || to > text.size()) break;
    texts.push_back(text.substr(begin, to - begin));
    begin = to;
  }
  if (texts.size() == ends.size() && begin == text.size()) return texts;
  throw Error(Exit::data, cat(file, ": '", group, "/ends' element ", texts.size(),
                              " does not cut the ", text.size(), " bytes of '", group, "/text'"));
}

void write_text_list(Hdf5Writer& writer, const std::string& group,
                     const std::vector<std::string>& texts) {
  std::string text;
  std::vector<std::uint32_t> ends;
  for (const std::string& one : texts) {
    text += one;
    ends.push_back(static_cast<std::uint32_t>(text.size()));
  }
  writer.write({.name = group + "/text",
                .dtype = DType::u8,
                .num_rows = static_cast<std::int64_t>(text.size())},
               text.data());
  writer.write({.name = group + "/ends",
                .dtype = DType::u32,
                .num_rows = static_cast<std::int64_t>(ends.size())},
               ends.data());
}

}  // namespace dlt::data
