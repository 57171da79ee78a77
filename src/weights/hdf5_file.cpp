// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "data/h5.h"
#include "weights/probe.h"
#include "weights/weights_file.h"

namespace dlt::weights {
namespace {

constexpr std::size_t kMaxTensors = 100000;
constexpr std::int64_t kMaxProbed_bytes = std::int64_t{1} << 32;

class Hdf5File final : public WeightsFile {
 public:
  explicit Hdf5File(const std::string& path)
      : path_(path), source_(printable(path, 200)), file_(data::h5::open_file(path)) {
    const data::h5::Listing listing = data::h5::list_datasets(file_, kMaxTensors);
    if (listing.cut) {
      throw Error(Exit::data, cat(source_, ": more than ", kMaxTensors, " data sets"));
    }
    for (const std::string& place : listing.datasets) {
      const auto description = data::h5::describe_dataset(file_, path_, place);
      if (!description.element_type || description.dims.empty() || description.numel() == 0) {
        continue;
      }
      std::string name = place.substr(place.starts_with("/") ? 1 : 0);
      std::replace(name.begin(), name.end(), '/', '.');
      if (!places_.emplace(name, place).second) {
        throw Error(Exit::data, cat(source_, ": two data sets are called '", printable(name), "'"));
      }
      try {
        types_.emplace(name, tensor::TensorType{tensor::Shape(description.dims),
                                                description.element_type->dtype});
      } catch (const Error& error) {
        throw Error(Exit::data, cat(source_, ": '", printable(place), "': ", error.what()));
      }
    }
  }

  [[nodiscard]] const std::map<std::string, tensor::TensorType>& types() const override {
    return types_;
  }

  [[nodiscard]] tensor::Tensor load(const std::string& name) const override {
    const std::string& place = places_.at(name);
    const data::h5::OpenDataset dataset = data::h5::open_dataset(file_, path_, place);
    const tensor::TensorType& type = types_.at(name);
    tensor::Tensor out(type.shape, type.dtype);
    data::h5::read_rows(dataset, cat(source_, ": '", printable(place), "'"), 0, type.shape[0],
                        out.bytes());
    return out;
  }

 private:
  std::string path_, source_;
  data::h5::Handle file_;
  std::map<std::string, std::string> places_;  // name -> path in the file
  std::map<std::string, tensor::TensorType> types_;
};

}  // namespace

std::unique_ptr<WeightsFile> open_hdf5(const std::string& path) {
  probe(path, [&] {
    const Hdf5File file(path);
    for (const auto& [name, type] : file.types()) {
      if (type.bytes() <= kMaxProbed_bytes) (void)file.load(name);
    }
  });
  return std::make_unique<Hdf5File>(path);
}

}  // namespace dlt::weights
