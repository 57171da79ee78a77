// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

#include <array>

#include <openssl/evp.h>

#include "base/error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace dlt {

struct Sha256::Impl {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  Impl() = default;
  ~Impl() { EVP_MD_CTX_free(context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
  DLT_CHECK(impl_->context != nullptr, "EVP_MD_CTX_new");
  DLT_CHECK(EVP_DigestInit_ex(impl_->context, EVP_sha256(), nullptr) == 1, "EVP_DigestInit_ex");
}

Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;

void Sha256::update(std::span<const std::byte> bytes) {
  DLT_CHECK(impl_ != nullptr, "update() after hex()");
  DLT_CHECK(EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size()) == 1, "EVP_DigestUpdate");
}

void Sha256::update(std::string_view text) { update(std::as_bytes(std::span(text))); }

std::string Sha256::hex() {
  DLT_CHECK(impl_ != nullptr, "hex() twice");
  std::array<unsigned char, 32> digest{};
  DLT_CHECK(EVP_DigestFinal_ex(impl_->context, digest.data(), nullptr) == 1, "EVP_DigestFinal_ex");
  impl_.reset();
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (const unsigned char byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

std::uint64_t xxh3(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t xxh3(std::string_view text, std::uint64_t seed) {
  return xxh3(std::as_bytes(std::span(text)), seed);
}

}  // namespace dlt
