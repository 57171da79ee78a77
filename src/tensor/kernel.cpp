// SPDX-License-Identifier: Apache-2.0
#include "tensor/kernel.h"

#include "base/error.h"
#include "base/text.h"

namespace dlt::tensor {
namespace {

template <typename T>
const T* get(const std::map<std::string, Attrs::Value>& values, const std::string& name) {
  const auto found = values.find(name);
  if (found == values.end()) return nullptr;
  const T* value = std::get_if<T>(&found->second);
  DLT_CHECK(value != nullptr, cat("attribute ", name, " has another type"));
  return value;
}

class FunctionKernel final : public Kernel {
 public:
  FunctionKernel(KernelFunction function, const Attrs& attrs)
      : function_(function), attrs_(attrs) {}
  void run(const KernelArgs& args) const override { function_(args, attrs_); }

 private:
  KernelFunction function_;
  Attrs attrs_;
};

}  // namespace

std::int64_t Attrs::integer(const std::string& name, std::int64_t fallback) const {
  const auto* value = get<std::int64_t>(values_, name);
  return value != nullptr ? *value : fallback;
}

double Attrs::number(const std::string& name, double fallback) const {
  const auto found = values_.find(name);
  if (found != values_.end() && std::holds_alternative<std::int64_t>(found->second)) {
    return static_cast<double>(std::get<std::int64_t>(found->second));
  }
  const auto* value = get<double>(values_, name);
  return value != nullptr ? *value : fallback;
}

std::string Attrs::word(const std::string& name, const std::string& fallback) const {
  const auto* value = get<std::string>(values_, name);
  return value != nullptr ? *value : fallback;
}

std::vector<std::int64_t> Attrs::integers(const std::string& name) const {
  const auto* value = get<std::vector<std::int64_t>>(values_, name);
  return value != nullptr ? *value : std::vector<std::int64_t>{};
}

std::vector<double> Attrs::numbers(const std::string& name) const {
  const auto* value = get<std::vector<double>>(values_, name);
  return value != nullptr ? *value : std::vector<double>{};
}

std::unique_ptr<Kernel> make_function_kernel(KernelFunction function, const Attrs& attrs) {
  return std::make_unique<FunctionKernel>(function, attrs);
}

}  // namespace dlt::tensor
