// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "data/writer.h"
#include "weights/write.h"

namespace dlt::weights {

void write_hdf5(const std::string& path, const tensor::StateDict& state, const Metadata& metadata) {
  data::Hdf5Writer writer(path);
  for (const auto& [key, value] : metadata) writer.attribute(key, value);
  for (const auto& [name, tensor] : state) {
    if (tensor.shape().rank() == 0 || tensor.shape().numel() == 0) {
      throw Error(Exit::config, cat(printable(path, 200), ": '", name, "': expected numbers, got ",
                                    tensor.type().text()));
    }
    std::string place = "/" + name;
    std::replace(place.begin(), place.end(), '.', '/');
    writer.write({.name = place,
                  .dtype = tensor.dtype(),
                  .num_rows = tensor.shape()[0],
                  .row_shape = tensor.shape().without_front()},
                 tensor.bytes());
  }
  writer.commit();
}

}  // namespace dlt::weights
