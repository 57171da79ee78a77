// SPDX-License-Identifier: Apache-2.0
// Other formats, and made-up data, to HDF5 data sets that `data` reads. Input rows come first, in
// the order of the source; images are channels last.
// errors  of every function: Error(Exit::missing) naming a source that is not there;
//         Error(Exit::data) naming file and byte, or file:line:column, of what is wrong in it;
//         Error(Exit::usage) options that make no sense; Error(Exit::io) output not written
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace dlt::import_ {

/// Which rows become test rows: those whose place in the keyed permutation of (rows, seed) is below
/// round(rows * fraction). Both parts keep the order of the source.
struct SplitOptions {
  double test_fraction = 0.0;  // 0: no test part; below 1
  std::uint64_t seed = 0;
};

/// What was written, for the caller to print.
struct ImportReport {
  struct Item {
    std::string name;  // "/train/x"
    std::string type;  // "f32"
    std::vector<std::int64_t> shape;
  };
  std::string output;
  std::vector<Item> items;
  std::vector<std::string> notes;  // "dropped 207 rows with missing values"
};

/// MNIST's format, plain or gzipped: /train/images [N, h, w, 1], /train/labels [N], and /test/ the
/// same where test files are given or split off. The numbers keep their type.
struct IdxOptions {
  std::string train_images, train_labels;
  std::string test_images, test_labels;  // both or neither
  std::string output;
  SplitOptions split;     // only without test files
  int deflate_level = 0;  // 0: uncompressed, which opens fastest
};
[[nodiscard]] ImportReport import_idx(const IdxOptions& options);

/// A table of numbers: /train/x f32 [N, features], /train/y f32 [N, targets] or, for a text column
/// or with target_labels, i32 class labels [N]; /test/ the same where a part is split off.
struct CsvOptions {
  enum class Header : std::uint8_t { automatic, yes, no };
  enum class Missing : std::uint8_t { error, drop, mean, median };
  std::string input;
  std::string output;
  char delimiter = ',';
  Header header = Header::automatic;  // automatic: a first line without any number is one
  std::vector<std::string> targets;   // column names, or numbers counted from 1; none: only x
  bool target_labels = false;         // the target is a class: whole numbers from 0, or words
  std::vector<std::string> ignore;    // columns left out
  std::vector<std::string> one_hot;   // word columns that become one 0/1 column a word
  std::vector<std::string> codes;     // word columns that become the words' numbers, in their order
  Missing missing = Missing::error;   // empty, NA, N/A, nan, null, ?; mean and median are those of
                                      // the training rows, a word that is missing is one of its own
  bool standardize = false;          // number columns to mean 0, deviation 1 over the training rows
  bool standardize_targets = false;  // targets that are numbers, too
  SplitOptions split;
  int deflate_level = 0;
};
[[nodiscard]] ImportReport import_csv(const CsvOptions& options);

/// NumPy arrays (.npy 1.0 to 3.0, C order, little-endian numbers) as they are: /train/x and
/// /train/y, /test/ the same where test files are given or split off.
struct NpyOptions {
  std::string inputs, targets;            // targets may be empty
  std::string test_inputs, test_targets;  // as many as above, or none
  std::string output;
  SplitOptions split;  // only without test files
  int deflate_level = 0;
};
[[nodiscard]] ImportReport import_npy(const NpyOptions& options);

/// Folders of images (PNG, JPEG, binary PGM and PPM), one a class, sorted by name: /train/images u8
/// [N, height, width, 3 or 1], /train/labels i32 [N], /test/ the same, and /labels, the classes'
/// names. Rows are in the order of the paths.
struct ImagesOptions {
  std::string folder;
  std::string test_folder;  // "": see split
  std::string output;
  std::int64_t height = 0, width = 0;
  bool grey = false;
  bool bilinear = false;  // else the mean of what a new pixel covers
  bool crop = false;      // the middle, in the wanted proportions; else sides change as they must
  bool skip_bad = false;  // damaged images are passed over and named in the report
  SplitOptions split;     // only without a test folder
  int deflate_level = 0;
};
[[nodiscard]] ImportReport import_images(const ImagesOptions& options);

/// Text, plain or gzipped, as token ids: /train/tokens [N] and /val/tokens, in the smallest type
/// that holds them, and the vocabulary (data/tokenizer.h). The files are one text, in their order;
/// its first `split` of the characters are the training part.
struct TextOptions {
  std::vector<std::string> inputs;
  std::string output;
  data::Tokenizer::Kind tokenizer = data::Tokenizer::Kind::characters;
  std::int64_t vocabulary_size = 1024;  // byte pairs: learnt from the training part
  std::string vocabulary;  // use that of this HDF5 file, or of GPT-2's vocab.json, instead
  std::string merges;      // GPT-2's merges.txt; none: the one beside vocab.json
  double split = 0.9;      // 1: no /val
  int deflate_level = 0;
};
[[nodiscard]] ImportReport import_text(const TextOptions& options);

/// Recordings (PCM WAV) as log-mel features: /train/features f32 [N, frames, mels], /train/labels
/// i32 [N] and /train/lengths i32 [N] (frames that are not padding), /test/ the same. Each band is
/// brought to mean 0 and deviation 1 over the real frames of the training part; /features/mean and
/// /features/deviation [mels] keep what was applied, /labels the names of the classes.
struct WavOptions {
  std::vector<std::string> inputs;  // files, and folders (every *.wav below them), sorted by path
  std::string output;
  std::string pattern = "{label}_{speaker}_{index}.wav";  // of the path's last part or parts
  std::string test_rule;         // "index<5": FIELD, one of < <= > >= = !=, value; "": see split
  std::int64_t sample_rate = 0;  // that every file must have; 0: of the first
  std::int64_t window = 0;       // samples of a frame; 0: 25 ms
  std::int64_t hop = 0;          // samples from frame to frame; 0: 10 ms
  std::int64_t num_fft = 0;      // a power of two; 0: the smallest that holds the window
  std::int64_t num_mels = 40;
  double min_hz = 20.0;
  double max_hz = 0.0;      // 0: half the sample rate
  std::int64_t frames = 0;  // longer recordings are cut, shorter padded; 0: those of the longest
  std::string like;  // a file of this import whose statistics, classes and frames are used again
  SplitOptions split;
  int deflate_level = 0;
};
[[nodiscard]] ImportReport import_wav(const WavOptions& options);

/// Made-up data, the same for the same options.
struct SynthOptions {
  std::string output;
  std::int64_t rows = 100;
  std::int64_t test_rows = 20;
  std::int64_t features = 10;
  std::int64_t classes = 3;  // blobs, spirals
  double noise = -1.0;       // standard deviation; negative: the kind's own
  std::uint64_t seed = 1;
  int deflate_level = 0;
};
/// regression: x uniform in [0, 1), y [rows, 1] = x.w + sin(2 pi x0) / 2 + noise (0.01)
/// blobs: one normal cloud (noise 1) a class, its centre drawn with deviation 4; y i32 labels
/// shapes: images [32, 32, 3] of bytes, ten kinds of shape in random place, size and colours with
/// noise of 20 grey levels; y i32 labels
/// spirals: `classes` interleaved arms in the plane (noise 0.02), features is 2; y i32 labels
[[nodiscard]] ImportReport synthesise(const std::string& name, const SynthOptions& options);
[[nodiscard]] std::vector<std::string> synth_names();

}  // namespace dlt::import_
