// SPDX-License-Identifier: Apache-2.0
// What other routines of the backend use of the products: strides, packed operands, panels of their
// own, batches.
#include "backend/cpu/gemm.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/cpu.h"
#include "base/dtype.h"
#include "base/rng.h"
#include "base/text.h"
#include "tensor/storage.h"

namespace dlt::test {
namespace {

using cpu::GemmArgs;

struct Routines {
  const char* isa;
  void (*gemm)(const GemmArgs&);
  void (*gemm_batch)(const cpu::GemmBatch&);
  void (*pack_b)(const GemmArgs&, float*);
};

std::vector<Routines> routines() {
  std::vector<Routines> all{{"avx2", cpu::avx2::gemm, cpu::avx2::gemm_batch, cpu::avx2::pack_b}};
  if (cpu_features().avx512) {
    all.push_back({"avx512", cpu::avx512::gemm, cpu::avx512::gemm_batch, cpu::avx512::pack_b});
  }
  return all;
}

std::vector<float> numbers(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = rng::normal({.seed = seed}, i);
  return values;
}

struct Sizes {
  std::int64_t m, n, k;
  bool trans_a = false, trans_b = false;
};
std::string sizes_text(const Sizes& s) {
  return cat(s.m, "x", s.n, "x", s.k, s.trans_a ? " trans_a" : "", s.trans_b ? " trans_b" : "");
}

constexpr float kGuard = 123.5f;

/// Dense operands of a product, room for its result and scratch, all behind guards.
class GemmCase {
 public:
  explicit GemmCase(const Sizes& s, std::int64_t count = 1,
                    cpu::Precision precision = cpu::Precision::f32)
      : a_(numbers(s.m * s.k * count, 1)),
        b_(numbers(s.n * s.k * count, 2)),
        c_(static_cast<std::size_t>(s.m * s.n * count)),
        scratch_floats_(cpu::gemm_scratch_floats(s.m, s.n, s.k, precision)),
        scratch_(tensor::Storage::allocate((scratch_floats_ + 1) * 4)) {
    args.m = s.m;
    args.n = s.n;
    args.k = s.k;
    args.trans_a = s.trans_a;
    args.trans_b = s.trans_b;
    args.a = a_.data();
    args.b = b_.data();
    args.c = c_.data();
    args.scratch = reinterpret_cast<float*>(scratch_.data());
    args.scratch[scratch_floats_] = kGuard;
  }
  GemmCase(const GemmCase&) = delete;
  GemmCase& operator=(const GemmCase&) = delete;
  ~GemmCase() { EXPECT_EQ(args.scratch[scratch_floats_], kGuard) << "scratch overrun"; }
  std::vector<float> run(const Routines& r) {
    r.gemm(args);
    return c_;
  }
  [[nodiscard]] const std::vector<float>& a() const { return a_; }
  [[nodiscard]] const std::vector<float>& b() const { return b_; }
  [[nodiscard]] const std::vector<float>& c() const { return c_; }
  GemmArgs args;

 private:
  std::vector<float> a_, b_, c_;
  std::int64_t scratch_floats_;
  tensor::Storage scratch_;
};

const std::vector<Sizes>& shapes() {
  static const std::vector<Sizes> all = [] {
    std::vector<Sizes> out;
    for (const bool trans_a : {false, true}) {
      for (const bool trans_b : {false, true}) {
        out.push_back({1, 1, 1, trans_a, trans_b});
        out.push_back({5, 33, 64, trans_a, trans_b});
        out.push_back({64, 64, 32, trans_a, trans_b});
        out.push_back({19, 130, 300, trans_a, trans_b});
        out.push_back({600, 65, 40, trans_a, trans_b});     // two blocks of rows
        out.push_back({510, 1030, 270, trans_a, trans_b});  // two blocks of columns
        out.push_back({510, 20, 1100, trans_a, trans_b});   // two blocks of k
      }
    }
    return out;
  }();
  return all;
}

/// `dense` rows of `columns` floats, `ld` apart, NaN between them.
std::vector<float> spread(const std::vector<float>& dense, std::int64_t columns, std::int64_t ld) {
  const auto count = static_cast<std::int64_t>(dense.size()) / columns;
  std::vector<float> out(static_cast<std::size_t>(count * ld), std::nanf(""));
  for (std::int64_t i = 0; i < count; ++i) {
    std::copy_n(dense.begin() + i * columns, columns, out.begin() + i * ld);
  }
  return out;
}

TEST(CpuGemm, RowsMayLieApart) {
  for (const Routines& r : routines()) {
    for (const Sizes& s : shapes()) {
      GemmCase dense(s), apart(s);
      const std::vector<float> want = dense.run(r);
      const std::int64_t a_columns = s.trans_a ? s.m : s.k, b_columns = s.trans_b ? s.k : s.n;
      std::vector<float> a = spread(dense.a(), a_columns, a_columns + 3);
      std::vector<float> b = spread(dense.b(), b_columns, b_columns + 5);
      std::vector<float> c(static_cast<std::size_t>(s.m * (s.n + 7)), kGuard);
      apart.args.a = a.data();
      apart.args.b = b.data();
      apart.args.c = c.data();
      apart.args.lda = a_columns + 3;
      apart.args.ldb = b_columns + 5;
      apart.args.ldc = s.n + 7;
      r.gemm(apart.args);
      for (std::int64_t i = 0; i < s.m; ++i) {
        for (std::int64_t j = 0; j < s.n + 7; ++j) {
          const float got = c[static_cast<std::size_t>(i * (s.n + 7) + j)];
          const float expected = j < s.n ? want[static_cast<std::size_t>(i * s.n + j)] : kGuard;
          if (s.m == 1 || s.n == 1) {  // another order of summation
            ASSERT_NEAR(got, expected, 1e-4) << r.isa << " " << sizes_text(s);
          } else {
            ASSERT_EQ(got, expected) << r.isa << " " << sizes_text(s) << " at " << i << ", " << j;
          }
        }
      }
    }
  }
}

TEST(CpuGemm, APackedOperandGivesTheSameBits) {
  for (const Routines& r : routines()) {
    for (const Sizes& s : shapes()) {
      if (s.m == 1) continue;
      GemmCase plain(s), packed(s);
      const std::vector<float> want = plain.run(r);
      const std::int64_t floats = cpu::gemm_packed_b_floats(s.n, s.k);
      const tensor::Storage memory = tensor::Storage::allocate((floats + 1) * 4);
      auto* data = reinterpret_cast<float*>(memory.data());
      data[floats] = kGuard;
      r.pack_b(packed.args, data);
      EXPECT_EQ(data[floats], kGuard) << r.isa << " " << sizes_text(s);
      packed.args.b = nullptr;
      packed.args.packed_b = data;
      EXPECT_EQ(packed.run(r), want) << r.isa << " " << sizes_text(s);
    }
  }
}

struct Source {
  const float* a;
  std::int64_t k;
  bool across;
};

cpu::APanel copy_panel(const void* context, std::int64_t i, std::int64_t rows, std::int64_t k0,
                       std::int64_t depth, float* room) {
  const auto& source = *static_cast<const Source*>(context);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t k = 0; k < depth; ++k) {
      room[source.across ? k * rows + r : r * depth + k] = source.a[(i + r) * source.k + k0 + k];
    }
  }
  return {room, source.across ? rows : depth, source.across};
}

TEST(CpuGemm, PanelsOfACallerGiveTheSameBits) {
  for (const Routines& r : routines()) {
    for (const Sizes& s : shapes()) {
      if (s.trans_a || s.m == 1) continue;
      GemmCase plain(s);
      const std::vector<float> want = plain.run(r);
      for (const bool across : {false, true}) {
        GemmCase product(s);
        const Source source{plain.a().data(), s.k, across};
        product.args.a = nullptr;
        product.args.find_a_panel = copy_panel;
        product.args.context = &source;
        EXPECT_EQ(product.run(r), want) << r.isa << " " << sizes_text(s) << " across " << across;
      }
    }
  }
}

TEST(CpuGemm, ScalesAndAddsToWhatIsThere) {
  for (const Routines& r : routines()) {
    for (const Sizes& s : shapes()) {
      GemmCase plain(s);
      const std::vector<float> product = plain.run(r);
      for (const bool accumulate : {false, true}) {
        for (const float alpha : {1.0f, -0.25f}) {
          GemmCase scaled(s);
          const std::vector<float> before = numbers(s.m * s.n, 3);
          std::copy(before.begin(), before.end(), scaled.args.c);
          scaled.args.alpha = alpha;
          scaled.args.accumulate = accumulate;
          const std::vector<float> got = scaled.run(r);
          for (std::size_t i = 0; i < got.size(); ++i) {
            const float want = alpha * product[i] + (accumulate ? before[i] : 0.0f);
            ASSERT_NEAR(got[i], want, 1e-4) << r.isa << " " << sizes_text(s) << " alpha " << alpha;
          }
        }
      }
    }
  }
}

TEST(CpuGemm, ABatchIsItsProducts) {
  for (const Routines& r : routines()) {
    const Sizes s{17, 33, 40};
    constexpr std::int64_t kCount = 3;
    GemmCase all(s, kCount);
    r.gemm_batch({.first = all.args,
                  .count = kCount,
                  .a_step = s.m * s.k,
                  .b_step = s.k * s.n,
                  .c_step = s.m * s.n});
    const std::vector<float> got = all.c();
    for (std::int64_t i = 0; i < kCount; ++i) {
      GemmCase one(s);
      one.args.a = all.args.a + i * s.m * s.k;
      one.args.b = all.args.b + i * s.k * s.n;
      const std::vector<float> want = one.run(r);
      EXPECT_TRUE(std::equal(want.begin(), want.end(), got.begin() + i * s.m * s.n)) << r.isa;
    }
  }
}

TEST(CpuGemm, BothInstructionSetsGiveTheSameBits) {
  if (!cpu_features().avx512) GTEST_SKIP() << "no AVX-512";
  for (const Sizes& s : shapes()) {
    GemmCase narrow(s), wide(s);
    EXPECT_EQ(narrow.run(routines()[0]), wide.run(routines()[1])) << sizes_text(s);
  }
}

/// What multiplies operands rounded to bf16 here, each with its name.
struct Bf16Routine {
  std::string name;
  std::function<void(const GemmArgs&)> gemm;
  std::function<void(const GemmArgs&, float*)> pack_b;
};

std::vector<Bf16Routine> bf16_routines() {
  std::vector<Bf16Routine> all;
  for (const Routines& r : routines()) {
    const auto emulated = [](GemmArgs g) {
      g.precision = cpu::Precision::bf16_emulated;
      return g;
    };
    all.push_back({cat(r.isa, " emulated"), [=](const GemmArgs& g) { r.gemm(emulated(g)); },
                   [=](const GemmArgs& g, float* p) { r.pack_b(emulated(g), p); }});
  }
  for (const cpu::Bf16Unit unit : {cpu::Bf16Unit::avx512, cpu::Bf16Unit::amx}) {
    if (cpu::bf16_unit() < unit) continue;
    all.push_back({name(unit), [=](const GemmArgs& g) { cpu::avx512_bf16::bf16_gemm(g, unit); },
                   cpu::avx512_bf16::bf16_pack_b});
  }
  return all;
}

std::vector<float> rounded(std::vector<float> values) {
  for (float& value : values) value = bf16_to_f32(f32_to_bf16(value));
  return values;
}

/// What the product must be: that of rounded operands, in f32.
std::vector<float> product_of_rounded(const Sizes& s, float alpha) {
  GemmCase p(s);
  const std::vector<float> a = rounded(p.a()), b = rounded(p.b());
  p.args.a = a.data();
  p.args.b = b.data();
  p.args.alpha = alpha;
  return p.run(routines()[0]);
}

void expect_close(const std::vector<float>& got, const std::vector<float>& want, std::int64_t k,
                  const std::string& where) {
  ASSERT_EQ(got.size(), want.size());
  const double limit = 2e-6 * static_cast<double>(k + 8);
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], limit) << where << i;
}

const std::vector<Sizes>& bf16_shapes() {
  static const std::vector<Sizes> all = [] {
    std::vector<Sizes> out;
    for (const bool trans_a : {false, true}) {
      for (const bool trans_b : {false, true}) {
        for (const std::int64_t m : {1, 16, 31, 33}) {
          for (const std::int64_t n : {1, 17, 32, 48}) {
            for (const std::int64_t k : {1, 31, 64}) out.push_back({m, n, k, trans_a, trans_b});
          }
        }
        out.push_back({530, 20, 1030, trans_a, trans_b});  // two blocks of rows, three of k
        out.push_back({20, 1050, 40, trans_a, trans_b});   // two blocks of columns
      }
    }
    return out;
  }();
  return all;
}

TEST(CpuBf16Gemm, RoundsOperandsAndSumsInF32) {
  for (const Bf16Routine& r : bf16_routines()) {
    for (const Sizes& s : bf16_shapes()) {
      GemmCase p(s, 1, cpu::Precision::bf16);
      r.gemm(p.args);
      expect_close(p.c(), product_of_rounded(s, 1), s.k, cat(r.name, " ", sizes_text(s), " at "));
    }
  }
}

TEST(CpuBf16Gemm, APackedOperandGivesTheSameBits) {
  for (const Bf16Routine& r : bf16_routines()) {
    for (const Sizes& s : bf16_shapes()) {
      GemmCase plain(s, 1, cpu::Precision::bf16), packed(s, 1, cpu::Precision::bf16);
      r.gemm(plain.args);
      const std::int64_t floats = cpu::gemm_packed_b_floats(s.n, s.k);
      const tensor::Storage memory = tensor::Storage::allocate((floats + 1) * 4);
      auto* data = reinterpret_cast<float*>(memory.data());
      data[floats] = kGuard;
      r.pack_b(packed.args, data);
      EXPECT_EQ(data[floats], kGuard) << r.name << " " << sizes_text(s);
      packed.args.b = nullptr;
      packed.args.packed_b = data;
      r.gemm(packed.args);
      EXPECT_EQ(packed.c(), plain.c()) << r.name << " " << sizes_text(s);
    }
  }
}

TEST(CpuBf16Gemm, PanelsOfACallerGiveTheSameBits) {
  for (const Bf16Routine& r : bf16_routines()) {
    for (const Sizes& s : bf16_shapes()) {
      if (s.trans_a) continue;
      GemmCase plain(s, 1, cpu::Precision::bf16);
      r.gemm(plain.args);
      for (const bool across : {false, true}) {
        GemmCase product(s, 1, cpu::Precision::bf16);
        const Source source{plain.a().data(), s.k, across};
        product.args.a = nullptr;
        product.args.find_a_panel = copy_panel;
        product.args.context = &source;
        r.gemm(product.args);
        EXPECT_EQ(product.c(), plain.c()) << r.name << " " << sizes_text(s) << " across " << across;
      }
    }
  }
}

TEST(CpuBf16Gemm, ScalesAddsAndCutsOff) {
  for (const Bf16Routine& r : bf16_routines()) {
    for (const Sizes& s : bf16_shapes()) {
      const std::vector<float> start = numbers(s.m * s.n, 3), bias = numbers(s.n, 4);
      for (const float alpha : {1.0f, -0.25f}) {
        for (const bool accumulate : {false, true}) {
          GemmCase p(s, 1, cpu::Precision::bf16);
          std::copy(start.begin(), start.end(), p.args.c);
          p.args.alpha = alpha;
          p.args.accumulate = accumulate;
          p.args.relu = !accumulate;
          // The product is all of relu's argument, or is added to what is there.
          std::vector<float> want = product_of_rounded(s, alpha);
          if (alpha == 1.0f && !accumulate) p.args.bias = bias.data();
          for (std::size_t i = 0; i < want.size(); ++i) {
            if (accumulate) want[i] += start[i];
            if (p.args.bias != nullptr) want[i] += bias[i % static_cast<std::size_t>(s.n)];
            if (p.args.relu) want[i] = std::max(0.0f, want[i]);
          }
          r.gemm(p.args);
          expect_close(p.c(), want, s.k, cat(r.name, " ", sizes_text(s), " alpha ", alpha, " at "));
        }
      }
    }
  }
}

TEST(CpuBf16Gemm, TheInstructionSetOfTheProcessorIsUsed) {
  if (cpu::bf16_unit() == cpu::Bf16Unit::none) GTEST_SKIP() << "no AVX-512 BF16";
  const Sizes s{40, 50, 300};
  GemmCase by_unit(s, 1, cpu::Precision::bf16), by_name(s, 1, cpu::Precision::bf16);
  cpu::avx512_bf16::bf16_gemm(by_unit.args, cpu::bf16_unit());
  by_name.args.precision = cpu::Precision::bf16;
  EXPECT_EQ(by_name.run(routines()[1]), by_unit.c());
}

}  // namespace
}  // namespace dlt::test
