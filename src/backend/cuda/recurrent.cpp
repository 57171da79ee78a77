// SPDX-License-Identifier: Apache-2.0
// What the recurrent kernels share, and recurrent_weight_grad.
#include "backend/cuda/recurrent.h"

#include <algorithm>

#include "backend/cuda/factories.h"
#include "backend/cuda/narrow.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

/// Elements from row to row of a matrix that a kernel packs for the library.
std::int64_t packed_stride(Precision precision, std::int64_t columns) {
  return is_narrow(precision) ? narrow_stride(columns) : columns;
}

GemmShape step_shape(const RecurrentForm& form, StepDirection direction) {
  const bool forward = direction == StepDirection::forward;
  GemmShape shape{.m = form.batch,
                  .n = forward ? form.width() : form.units,
                  .k = forward ? form.units : form.width(),
                  .trans_b = !forward,
                  .accumulate = !forward,
                  .precision = form.precision};
  shape.lda = packed_stride(form.precision, shape.k);
  shape.ldb = packed_stride(form.precision, form.width());
  shape.ldc = shape.n;
  return shape;
}

}  // namespace

std::optional<RecurrentForm> recurrent_form(const tensor::KernelSpec& spec, std::int64_t gates,
                                            std::size_t weight) {
  const std::optional<Precision> precision = precision_of(spec.attrs);
  const tensor::TensorType& x = spec.inputs[0];
  if (spec.outputs[0].dtype != DType::f32 || !precision || x.shape.numel() == 0)
    return std::nullopt;
  const auto has = [&](const char* name) { return spec.attrs.integer(name) != 0; };
  return RecurrentForm{.batch = x.shape[0],
                       .steps = x.shape[1],
                       .units = x.shape[2] / gates,
                       .gates = gates,
                       .initial = has("initial"),
                       .masked = has("masked"),
                       .reverse = has("reverse"),
                       .bias = has("bias"),
                       .dy = has("dy"),
                       .dlast_h = has("dlast_h"),
                       .dlast_c = has("dlast_c"),
                       .precision = *precision,
                       .weight_is_param = (spec.params >> weight & 1u) != 0};
}

StepProduct::StepProduct(const DeviceLibraries& libraries, const RecurrentForm& form,
                         StepDirection direction)
    : form_(form),
      packed_columns_(direction == StepDirection::forward ? form.units : form.width()),
      gemm_(libraries.gemm(step_shape(form, direction))) {
  const std::int64_t bytes = element_bytes(form.precision);
  weight_at_ = scratch_part(gemm_->workspace_bytes());
  packed_at_ = weight_at_;
  if (is_narrow(form.precision)) {
    packed_at_ += scratch_part(form.units * narrow_stride(form.width()) * bytes);
  }
  own_at_ = packed_at_ + scratch_part(form.batch * cell_shape().copy_stride * bytes);
}

std::int64_t StepProduct::kept_bytes() const {
  return form_.weight_is_param ? packed_at_ - weight_at_ : 0;
}

CellShape StepProduct::cell_shape() const {
  return {.batch = form_.batch,
          .steps = form_.steps,
          .units = form_.units,
          .copy_stride = packed_stride(form_.precision, packed_columns_),
          .precision = form_.precision};
}

const void* StepProduct::prepare(const tensor::KernelArgs& args, const float* weight) const {
  if (!is_narrow(form_.precision)) return weight;
  std::byte* copy = args.scratch + weight_at_;
  if (form_.weight_is_param && args.kept != nullptr) {
    copy = args.kept;
    if (args.kept_valid) return copy;
  }
  narrow(NarrowCopy{.from = weight,
                    .to = copy,
                    .rows = form_.units,
                    .columns = form_.width(),
                    .from_stride = form_.width(),
                    .to_stride = narrow_stride(form_.width()),
                    .precision = form_.precision},
         stream_of(args));
  return copy;
}

void StepProduct::pack_state(const tensor::KernelArgs& args, const float* state) const {
  narrow(NarrowCopy{.from = state,
                    .to = packed(args),
                    .rows = form_.batch,
                    .columns = form_.units,
                    .from_stride = form_.units,
                    .to_stride = cell_shape().copy_stride,
                    .precision = form_.precision},
         stream_of(args));
}

void StepProduct::run(const tensor::KernelArgs& args, const void* weight, float* result) const {
  gemm_->run({.a = packed(args),
              .b = weight,
              .c = result,
              .workspace = args.scratch,
              .stream = stream_of(args)});
}

namespace {

/// The product over all samples and steps of the states before the steps with the changes; with
/// `inner` the last third of the columns comes of other changes.
class RecurrentWeightGrad final : public tensor::Kernel {
 public:
  RecurrentWeightGrad(const DeviceLibraries& libraries, const RecurrentForm& form,
                      std::int64_t width, bool inner)
      : form_(form), width_(width), inner_(inner) {
    const std::int64_t rows = form.batch * form.steps;
    const std::int64_t columns = inner ? width - form.units : width;
    const auto shape = [&](std::int64_t n, std::int64_t stored, int alignment_bytes) {
      return GemmShape{.m = form.units,
                       .n = n,
                       .k = rows,
                       .lda = packed_stride(form.precision, form.units),
                       .ldb = packed_stride(form.precision, stored),
                       .ldc = width,
                       .trans_a = true,
                       .precision = form.precision,
                       .alignment_bytes = alignment_bytes};
    };
    product_ = libraries.gemm(shape(columns, width, 16));
    const int alignment_bytes = columns * 4 % 16 == 0 ? 16 : 4;
    if (inner) inner_product_ = libraries.gemm(shape(form.units, form.units, alignment_bytes));
    const std::int64_t bytes = element_bytes(form.precision);
    states_at_ = scratch_part(
        std::max(product_->workspace_bytes(), inner ? inner_product_->workspace_bytes() : 0));
    changes_at_ =
        states_at_ + scratch_part(rows * packed_stride(form.precision, form.units) * bytes);
    inner_at_ = changes_at_ +
                (is_narrow(form.precision) ? scratch_part(rows * narrow_stride(width) * bytes) : 0);
    scratch_bytes_ = inner_at_ + (is_narrow(form.precision) && inner
                                      ? scratch_part(rows * narrow_stride(form.units) * bytes)
                                      : 0);
  }

  [[nodiscard]] std::int64_t scratch_bytes() const override { return scratch_bytes_; }
  void run(const tensor::KernelArgs& args) const override {
    Operands in(args.inputs);
    const float *y = in.next(), *d = in.next(), *inner = in.next_if(inner_);
    const float* h0 = in.next_if(form_.initial);
    float* dw = args.outputs[0].as<float>();
    std::byte* const states = args.scratch + states_at_;
    copy_states({.y = y,
                 .first = {h0, form_.units},
                 .batch = form_.batch,
                 .steps = form_.steps,
                 .units = form_.units,
                 .reverse = form_.reverse,
                 .to = states,
                 .copy_stride = packed_stride(form_.precision, form_.units),
                 .precision = form_.precision},
                stream_of(args));
    multiply(*product_, args, {states, changes(args, d, width_, changes_at_), dw});
    if (!inner_) return;
    multiply(*inner_product_, args,
             {states, changes(args, inner, form_.units, inner_at_), dw + width_ - form_.units});
  }

 private:
  struct Factors {
    const void *states, *changes;
    float* result;
  };
  void multiply(const Gemm& gemm, const tensor::KernelArgs& args, const Factors& factors) const {
    gemm.run({.a = factors.states,
              .b = factors.changes,
              .c = factors.result,
              .workspace = args.scratch,
              .stream = stream_of(args)});
  }
  [[nodiscard]] const void* changes(const tensor::KernelArgs& args, const float* from,
                                    std::int64_t columns, std::int64_t at) const {
    if (!is_narrow(form_.precision)) return from;
    narrow(NarrowCopy{.from = from,
                      .to = args.scratch + at,
                      .rows = form_.batch * form_.steps,
                      .columns = columns,
                      .from_stride = columns,
                      .to_stride = narrow_stride(columns),
                      .precision = form_.precision},
           stream_of(args));
    return args.scratch + at;
  }

  RecurrentForm form_;
  std::int64_t width_;
  bool inner_;
  std::shared_ptr<const Gemm> product_, inner_product_;
  std::int64_t states_at_ = 0, changes_at_ = 0, inner_at_ = 0, scratch_bytes_ = 0;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_recurrent_weight_grad(const tensor::KernelSpec& spec,
                                                           const DeviceLibraries& libraries) {
  const std::optional<RecurrentForm> form = recurrent_form(spec, 1, 0);
  const std::int64_t width = spec.outputs[0].shape[1];
  if (!form || width == 0) return nullptr;
  return std::make_unique<RecurrentWeightGrad>(libraries, *form, width,
                                               spec.attrs.integer("inner") != 0);
}

}  // namespace dlt::cuda
