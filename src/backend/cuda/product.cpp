// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/product.h"

#include "backend/cuda/narrow.h"
#include "tensor/storage.h"

namespace dlt::cuda {
namespace {

/// Rows and columns of an operand as it is stored.
struct Stored {
  std::int64_t rows, columns, stride;
};

Stored stored_a(const GemmShape& s) {
  return s.trans_a ? Stored{s.k, s.m, s.lda} : Stored{s.m, s.k, s.lda};
}
Stored stored_b(const GemmShape& s) {
  return s.trans_b ? Stored{s.n, s.k, s.ldb} : Stored{s.k, s.n, s.ldb};
}

std::int64_t copy_bytes(const Stored& stored) {
  return tensor::aligned(stored.rows * narrow_stride(stored.columns) * 2);
}

/// What the library is given: copies begin at whole 64 bytes, with rows of their own stride.
GemmShape library_shape(GemmShape shape) {
  if (!is_narrow(shape.precision)) return shape;
  shape.lda = narrow_stride(stored_a(shape).columns);
  shape.ldb = narrow_stride(stored_b(shape).columns);
  return shape;
}

}  // namespace

Product::Product(const DeviceLibraries& libraries, const ProductSpec& spec)
    : spec_(spec), gemm_(libraries.gemm(library_shape(spec.shape))) {
  workspace_bytes_ = tensor::aligned(gemm_->workspace_bytes());
  if (!is_narrow(spec_.shape.precision)) return;
  a_bytes_ = copy_bytes(stored_a(spec_.shape));
  b_bytes_ = copy_bytes(stored_b(spec_.shape));
}

std::int64_t Product::kept_bytes() const {
  return (spec_.a_is_param ? a_bytes_ : 0) + (spec_.b_is_param ? b_bytes_ : 0);
}

const void* Product::operand(const Operand& operand, const ProductArgs& args) const {
  const GemmShape& shape = spec_.shape;
  if (!is_narrow(shape.precision)) return operand.from;
  std::byte* to = operand.scratch;
  if (args.kept != nullptr && (operand.is_a ? spec_.a_is_param : spec_.b_is_param)) {
    to = args.kept + (!operand.is_a && spec_.a_is_param ? a_bytes_ : 0);
    if (args.kept_valid) return to;
  }
  const Stored stored = operand.is_a ? stored_a(shape) : stored_b(shape);
  narrow(NarrowCopy{.from = operand.from,
                    .to = to,
                    .rows = stored.rows,
                    .columns = stored.columns,
                    .from_stride = stored.stride,
                    .to_stride = narrow_stride(stored.columns),
                    .precision = shape.precision},
         args.stream);
  return to;
}

void Product::run(const ProductArgs& args) const {
  std::byte* const copies = args.scratch + workspace_bytes_;
  gemm_->run({.a = operand({.from = args.a, .is_a = true, .scratch = copies}, args),
              .b = operand({.from = args.b, .is_a = false, .scratch = copies + a_bytes_}, args),
              .c = args.c,
              .bias = args.bias,
              .workspace = args.scratch,
              .stream = args.stream});
}

}  // namespace dlt::cuda
