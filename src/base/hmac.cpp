// SPDX-License-Identifier: Apache-2.0
#include "base/hmac.h"

#include <cerrno>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include "base/error.h"

namespace dlt {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

const unsigned char* data(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

Bytes32 hmac_sha256(std::span<const std::byte> key, std::span<const std::byte> message) {
  Bytes32 out{};
  unsigned int size = 0;
  const unsigned char* done =
      HMAC(EVP_sha256(), data(key), static_cast<int>(key.size()), data(message), message.size(),
           reinterpret_cast<unsigned char*>(out.data()), &size);
  DLT_CHECK(done != nullptr && size == out.size(), "HMAC");
  return out;
}

bool equal_secrets(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void fill_random(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    DLT_CHECK(got > 0, "getrandom");
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::string to_hex(const Bytes32& bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) {
    text += kHexDigits[std::to_integer<std::size_t>(byte >> 4)];
    text += kHexDigits[std::to_integer<std::size_t>(byte & std::byte{15})];
  }
  return text;
}

std::optional<Bytes32> from_hex(std::string_view text) {
  Bytes32 out{};
  if (text.size() != 2 * out.size()) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t digit = kHexDigits.find(text[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    out[i / 2] = (out[i / 2] << 4) | static_cast<std::byte>(digit);
  }
  return out;
}

}  // namespace dlt
