// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dlt::import_ {

/// A recording as one channel of numbers in [-1, 1]; two channels are averaged.
struct Recording {
  std::int64_t sample_rate = 0;
  std::vector<float> samples;
};

/// Reads a RIFF WAVE file: PCM of 8 (unsigned), 16, 24 or 32 bits or floats of 32, one or two
/// channels, WAVE_FORMAT_EXTENSIBLE too; other chunks are skipped.
/// errors  Exit::missing no such file; Exit::data naming file and byte
[[nodiscard]] Recording read_wav(const std::string& path);

}  // namespace dlt::import_
