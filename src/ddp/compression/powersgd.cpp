// SPDX-License-Identifier: Apache-2.0
// Each matrix of gradients as the product of two thin ones. A rank multiplies its own matrix M with
// the last step's Q; the sum P of all ranks' products, its columns made orthonormal, spans what is
// kept; the sum of all ranks' Mᵀ·P gives the result P·Qᵀ and the next step's Q. What a rank's
// M has outside P's span it keeps for the next step.
// source  Vogels, Karimireddy & Jaggi 2019, "PowerSGD", arXiv:1905.13727; differs in that the
//         residual is that of the rank's own projection, not of the ranks' mean: both add up to
//         the same over the ranks, this one is the smaller.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "ddp/compression/low_rank.h"
#include "ddp/compression/node_sums.h"
#include "ddp/compression/reductions.h"
#include "tensor/storage.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kMatrixGrain = 16;

std::int64_t whole_grains(std::int64_t count) {
  return (count + kMatrixGrain - 1) / kMatrixGrain * kMatrixGrain;
}

struct Matrix {
  std::int64_t begin = 0;  // in the flat buffers
  MatrixSize size;
  std::int64_t p = 0, q = 0;  // where its factors begin in the buffers of all P and all Q
  [[nodiscard]] std::int64_t numel() const { return size.rows * size.cols; }
};

/// The matrices of each bucket and where their factors lie, a bucket's side by side.
struct FactorPlan {
  std::vector<std::vector<Matrix>> matrices;  // of each bucket
  std::vector<Bucket> p_buckets, q_buckets;   // of buckets that have any
  std::vector<std::size_t> index;             // of a bucket among those
  std::int64_t p_total = 0, q_total = 0;

  explicit FactorPlan(const BucketReductionOptions& options)
      : matrices(options.buckets.size()), index(options.buckets.size(), 0) {
    for (std::size_t b = 0; b < options.buckets.size(); ++b) {
      const std::int64_t p_begin = p_total, q_begin = q_total;
      for (const GradientRange& range : options.ranges) {
        const Bucket& bucket = options.buckets[b];
        if (!range.exact && range.begin >= bucket.begin && range.begin < bucket.end) {
          add(b, range, options.compression.rank);
        }
      }
      if (matrices[b].empty()) continue;
      index[b] = p_buckets.size();
      p_buckets.push_back({p_begin, p_total});
      q_buckets.push_back({q_begin, q_total});
    }
  }
  void add(std::size_t bucket, const GradientRange& range, std::int64_t rank) {
    const MatrixSize size{
        .rows = range.rows, .cols = range.cols, .rank = std::min({rank, range.rows, range.cols})};
    matrices[bucket].push_back({.begin = range.begin, .size = size, .p = p_total, .q = q_total});
    p_total += whole_grains(size.rows * size.rank);
    q_total += whole_grains(size.cols * size.rank);
  }
};

/// One leaf a rank: the tree over them is the order in which factors are added.
BucketReductionOptions factor_options(const BucketReductionOptions& options,
                                      const std::vector<Bucket>& buckets, float* factors) {
  const int world_size = options.division.world_size();
  return {.rank = options.rank,
          .division = LeafDivision(world_size, world_size),
          .buckets = buckets,
          .nodes = {factors},
          .reduced = factors};
}

class PowersgdReduction final : public BucketReduction {
 public:
  explicit PowersgdReduction(BucketReductionOptions options)
      : options_(std::move(options)), plan_(options_) {
    residual_ = tensor::Storage::allocate(total_of(options_) * kElement_bytes);
    p_ = tensor::Storage::allocate(plan_.p_total * kElement_bytes);
    for (tensor::Storage* q : {&q_start_, &q_, &q_own_, &q_sum_}) {
      *q = tensor::Storage::allocate(plan_.q_total * kElement_bytes);
    }
    for (const auto& matrices : plan_.matrices) {
      for (const Matrix& matrix : matrices) start(matrix);
    }
    std::copy_n(at(q_start_), plan_.q_total, at(q_));
    if (plan_.p_total == 0) return;
    p_sums_ =
        make_bucket_reduction(Reduction::exact, factor_options(options_, plan_.p_buckets, at(p_)));
    q_sums_ = make_bucket_reduction(Reduction::exact,
                                    factor_options(options_, plan_.q_buckets, at(q_sum_)));
  }

  void begin_step(std::int64_t step) override {
    if (!p_sums_) return;
    p_sums_->begin_step(step);
    q_sums_->begin_step(step);
  }
  void reduce(comm::Communicator& comm, std::size_t bucket) override {
    const Bucket& range = options_.buckets[bucket];
    const auto& matrices = plan_.matrices[bucket];
    if (matrices.empty()) return;
    const float* values = sum_values(range);
    const auto m = [&](const Matrix& matrix) { return values + (matrix.begin - range.begin); };
    for (const Matrix& x : matrices) project(m(x), at(q_) + x.q, x.size, at(p_) + x.p);
    p_sums_->reduce(comm, plan_.index[bucket]);
    bool finite = true;
    for (const Matrix& x : matrices) {
      finite = orthonormalise(at(p_) + x.p, x.size) && finite;
      project_back(m(x), at(p_) + x.p, x.size, at(q_own_) + x.q);
      std::copy_n(at(q_own_) + x.q, x.size.cols * x.size.rank, at(q_sum_) + x.q);
    }
    q_sums_->reduce(comm, plan_.index[bucket]);
    for (const Matrix& x : matrices) finish(x, m(x), finite);
  }
  [[nodiscard]] std::int64_t buffer_bytes() const override {
    return residual_.size_bytes() + p_.size_bytes() + 4 * q_.size_bytes() +
           (p_sums_ ? p_sums_->buffer_bytes() + q_sums_->buffer_bytes() : 0);
  }
  [[nodiscard]] ReductionState state() override {
    ReductionState out{.residual = {at(residual_), static_cast<std::size_t>(total_of(options_))}};
    for (const auto& matrices : plan_.matrices) {
      for (const Matrix& x : matrices) {
        out.shared.push_back(
            {.param = x.begin, .rows = x.size.rank, .cols = x.size.cols, .data = at(q_) + x.q});
      }
    }
    return out;
  }

 private:
  static float* at(tensor::Storage& storage) { return reinterpret_cast<float*>(storage.data()); }

  /// The first Q: random, the same on all ranks and in every run.
  void start(const Matrix& x) {
    float* q = at(q_start_) + x.q;
    const rng::Key key{.op = rng::op_id("powersgd"), .sample = static_cast<std::uint64_t>(x.begin)};
    for (std::int64_t i = 0; i < x.size.cols * x.size.rank; ++i) {
      q[i] = rng::normal(key, static_cast<std::uint64_t>(i));
    }
    normalise(q, q, x.size);
  }
  const float* sum_values(const Bucket& range) {
    const float* values = nullptr;
    for (std::int64_t begin = range.begin; begin < range.end; begin += kBlock) {
      const float* block =
          sum_nodes(options_, at(residual_), begin, std::min(kBlock, range.end - begin));
      if (values == nullptr) values = block;
    }
    return values;
  }
  /// A NaN or infinity anywhere in a bucket's sums makes the result NaN on all ranks and leaves
  /// residuals and Q as they were.
  void finish(const Matrix& x, const float* m, bool finite) {
    float* sum = options_.reduced + x.begin;
    const float* q_sum = at(q_sum_) + x.q;
    const std::int64_t q_count = x.size.cols * x.size.rank;
    const auto is_finite = [](float value) { return std::abs(value) <= largest; };
    finite = finite && std::all_of(q_sum, q_sum + q_count, is_finite);
    if (!finite) {
      std::fill_n(sum, x.numel(), std::numeric_limits<float>::quiet_NaN());
      return;
    }
    rebuild({.m = m,
             .p = at(p_) + x.p,
             .q_sum = q_sum,
             .q_own = at(q_own_) + x.q,
             .sum = sum,
             .rest = at(residual_) + x.begin},
            x.size);
    std::copy_n(q_sum, q_count, at(q_) + x.q);
    normalise(at(q_) + x.q, at(q_start_) + x.q, x.size);
  }

  static constexpr float largest = std::numeric_limits<float>::max();
  BucketReductionOptions options_;
  FactorPlan plan_;
  tensor::Storage residual_, p_;
  tensor::Storage q_start_, q_, q_own_, q_sum_;
  std::unique_ptr<BucketReduction> p_sums_, q_sums_;
};

}  // namespace

std::unique_ptr<BucketReduction> make_powersgd(const BucketReductionOptions& options) {
  return std::make_unique<PowersgdReduction>(options);
}

Cost cost_of_powersgd(const BucketReductionOptions& options) {
  const FactorPlan plan(options);
  const Cost p = cost_of_exact_reduction(factor_options(options, plan.p_buckets, nullptr));
  const Cost q = cost_of_exact_reduction(factor_options(options, plan.q_buckets, nullptr));
  const std::int64_t floats = total_of(options) + plan.p_total + 4 * plan.q_total;
  return {.buffer_bytes = floats * kElement_bytes + p.buffer_bytes + q.buffer_bytes,
          .sent_bytes = p.sent_bytes + q.sent_bytes,
          .num_rounds = p.num_rounds + q.num_rounds};
}

}  // namespace dlt::ddp
