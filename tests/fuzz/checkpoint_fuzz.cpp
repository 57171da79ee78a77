// SPDX-License-Identifier: Apache-2.0
// Everything that reads weights and checkpoints: safetensors, manifests, .npz and HDF5, told apart
// by the first byte.
#include <fstream>
#include <string>

#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "fuzz/fuzz.h"
#include "weights/weights_file.h"

// The HDF5 library itself leaks a little on damaged files; what we allocate is still checked.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

namespace {

/// A manifest ends with its own hash, which mutations spoil: the right one lets them pass to what
/// stands behind the comparison.
std::string with_right_hash(std::string text) {
  constexpr std::size_t kDigits = 64;
  const std::string key = "\"manifest_sha256\": \"";
  const std::size_t at = text.rfind(key);
  if (at == std::string::npos || at + key.size() + kDigits > text.size()) return text;
  std::string without = text;
  without.erase(at + key.size(), kDigits);
  dlt::Sha256 hash;
  hash.update(without);
  return text.replace(at + key.size(), kDigits, hash.hex());
}

void read_manifest(const std::string& text) {
  const dlt::checkpoint::Manifest manifest = dlt::checkpoint::decode_manifest("m.json", text);
  const std::string again = dlt::checkpoint::encode_manifest(manifest);
  DLT_CHECK(dlt::checkpoint::decode_manifest("m.json", again) == manifest, "a manifest read again");
}

void load_all(const dlt::weights::WeightsFile& file) {
  for (const auto& [name, type] : file.types()) {
    // Only what a parameter of a small model could want; larger claims are never loaded.
    if (type.bytes() <= 1 << 20) (void)file.load(name);
  }
}

void read_hdf5(const std::string& bytes) {
  static const std::string path = dlt::cat("/dev/shm/dltrain_fuzz_", ::getpid(), ".h5");
  {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  struct Removed {
    ~Removed() { ::unlink(path.c_str()); }
  } removed;
  load_all(*dlt::weights::open_hdf5(path));
}

void read_any(const std::string& bytes) {
  const char first = bytes.empty() ? '\0' : bytes[0];
  if (first == 'P') return load_all(*dlt::weights::read_npz("w.npz", bytes));
  if (first == '\x89') return read_hdf5(bytes);
  if (first == '{') return read_manifest(with_right_hash(bytes));
  load_all(*dlt::weights::read_safetensors("w.safetensors", bytes));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    read_any(std::string(reinterpret_cast<const char*>(data), size));
  } catch (const dlt::Error& error) {
    if (error.exit() == dlt::Exit::internal) throw;  // our bug
  }
  return 0;
}
