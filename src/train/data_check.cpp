// SPDX-License-Identifier: Apache-2.0
#include "train/data_check.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>

#include "base/cpu.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "data/bad_samples.h"

namespace dlt::train {
namespace {

constexpr std::int64_t kChunk_rows = 256;
constexpr std::size_t kMost_named = 10;     // bad samples
constexpr std::size_t kMost_classes = 100;  // whose counts are listed

/// What is known of some rows.
struct Facts {
  std::int64_t good_rows = 0;
  double least = std::numeric_limits<double>::infinity();
  double most = -std::numeric_limits<double>::infinity();
  double sum = 0;
  std::int64_t numbers = 0;
  std::map<std::int32_t, std::int64_t> classes;
};

/// Reads all rows of one data set. Chunks are shared out among workers and put together in order,
/// so that the report does not depend on their number.
class Reader {
 public:
  Reader(const data::Dataset& dataset, bool labels, bool tokens, ThreadPool& pool)
      : dataset_(&dataset),
        labels_(labels),
        tokens_(tokens),
        chunks_(static_cast<std::size_t>((dataset.num_rows() + kChunk_rows - 1) / kChunk_rows)),
        hashes_(static_cast<std::size_t>(dataset.num_rows()), 0) {
    std::atomic<std::size_t> next{0};
    pool.run([&](int) {
      std::vector<std::byte> inputs(static_cast<std::size_t>(kChunk_rows * input_bytes()));
      std::vector<std::byte> targets(static_cast<std::size_t>(kChunk_rows * target_bytes()));
      for (std::size_t i; (i = next.fetch_add(1)) < chunks_.size();) {
        read_chunk(static_cast<std::int64_t>(i), inputs.data(), targets.data());
      }
    });
  }

  [[nodiscard]] Facts facts() const {
    Facts all;
    for (const Facts& one : chunks_) {
      all.good_rows += one.good_rows;
      all.least = std::min(all.least, one.least);
      all.most = std::max(all.most, one.most);
      all.sum += one.sum;
      all.numbers += one.numbers;
      for (const auto& [label, count] : one.classes) all.classes[label] += count;
    }
    return all;
  }

  /// Hashes of the good rows, sorted.
  [[nodiscard]] std::vector<std::uint64_t> sorted_hashes() const {
    std::vector<std::uint64_t> out;
    const std::vector<std::int64_t> bad = bad_.samples();
    for (std::size_t row = 0; row < hashes_.size(); ++row) {
      if (!std::binary_search(bad.begin(), bad.end(), static_cast<std::int64_t>(row))) {
        out.push_back(hashes_[row]);
      }
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  [[nodiscard]] data::BadSamples& bad() { return bad_; }

 private:
  [[nodiscard]] std::int64_t input_bytes() const { return 4 * dataset_->input_shape().numel(); }
  [[nodiscard]] std::int64_t target_bytes() const { return 4 * dataset_->target_shape().numel(); }

  void read_chunk(std::int64_t chunk, std::byte* inputs, std::byte* targets) {
    std::vector<std::int64_t> rows;
    const std::int64_t begin = chunk * kChunk_rows;
    for (std::int64_t row = begin; row < std::min(begin + kChunk_rows, dataset_->num_rows());
         ++row) {
      rows.push_back(row);
    }
    Facts& facts = chunks_[static_cast<std::size_t>(chunk)];
    try {
      dataset_->read(rows, inputs, targets);
      for (std::size_t i = 0; i < rows.size(); ++i) note(rows[i], i, inputs, targets, facts);
    } catch (const data::BadSample&) {
      for (const std::int64_t row : rows) read_alone(row, inputs, targets, facts);
    }
  }

  void read_alone(std::int64_t row, std::byte* inputs, std::byte* targets, Facts& facts) {
    try {
      dataset_->read({&row, 1}, inputs, targets);
      note(row, 0, inputs, targets, facts);
    } catch (const data::BadSample& problem) {
      bad_.add(row, problem.what());
    }
  }

  void note(std::int64_t row, std::size_t place, const std::byte* inputs, const std::byte* targets,
            Facts& facts) {
    const auto input_size = static_cast<std::size_t>(input_bytes());
    const auto target_size = static_cast<std::size_t>(target_bytes());
    inputs += place * input_size;
    targets += place * target_size;
    hashes_[static_cast<std::size_t>(row)] =
        xxh3({targets, target_size}, xxh3({inputs, input_size}));
    ++facts.good_rows;
    for (std::size_t i = 0; i < input_size / 4; ++i) {
      const double value =
          tokens_ ? static_cast<double>(reinterpret_cast<const std::int32_t*>(inputs)[i])
                  : static_cast<double>(reinterpret_cast<const float*>(inputs)[i]);
      facts.least = std::min(facts.least, value);
      facts.most = std::max(facts.most, value);
      facts.sum += value;
    }
    facts.numbers += static_cast<std::int64_t>(input_size / 4);
    if (!labels_) return;
    for (std::size_t i = 0; i < target_size / 4; ++i) {
      ++facts.classes[reinterpret_cast<const std::int32_t*>(targets)[i]];
    }
  }

  const data::Dataset* dataset_;
  bool labels_, tokens_;
  std::vector<Facts> chunks_;
  std::vector<std::uint64_t> hashes_;  // of each row
  data::BadSamples bad_;
};

std::int64_t count_repeated(const std::vector<std::uint64_t>& sorted) {
  std::int64_t n = 0;
  for (std::size_t i = 1; i < sorted.size(); ++i) n += sorted[i] == sorted[i - 1] ? 1 : 0;
  return n;
}

std::int64_t count_found(const std::vector<std::uint64_t>& of,
                         const std::vector<std::uint64_t>& in) {
  return std::count_if(of.begin(), of.end(), [&](std::uint64_t hash) {
    return std::binary_search(in.begin(), in.end(), hash);
  });
}

std::string classes_text(const std::map<std::int32_t, std::int64_t>& classes) {
  std::vector<std::string> words;
  for (const auto& [label, count] : classes) {
    if (words.size() == kMost_classes) {
      words.push_back(cat("and ", classes.size() - kMost_classes, " more"));
      break;
    }
    words.push_back(cat(label, ": ", count));
  }
  return join(words);
}

std::string source_text(const char* split, const DataSource& source, const data::Dataset& dataset,
                        const Facts& facts) {
  std::ostringstream out;
  out << split << "  " << source.file << "  " << source.inputs
      << (source.targets.empty() ? "" : ", ") << source.targets << "\n"
      << "  samples     " << dataset.num_rows() << ", inputs " << dataset.input_shape().text()
      << ", targets " << dataset.target_shape().text() << "\n";
  if (facts.numbers > 0) {
    out << "  inputs      from " << facts.least << " to " << facts.most << ", mean "
        << facts.sum / static_cast<double>(facts.numbers) << "\n";
  }
  if (!facts.classes.empty()) out << "  labels      " << classes_text(facts.classes) << "\n";
  return out.str();
}

}  // namespace

DataCheckResult check_data(const Surroundings& around, const DataCheckOptions& options) {
  RunConfig config =
      read_run_config(options.config_path, options.overrides, around.table, around.backend);
  config.skip_bad_samples = true;  // the first bad one is not the last
  ThreadPool pool(static_cast<int>(config.threads.value_or(online_cores())));
  DataCheckResult out;
  std::vector<std::uint64_t> train_rows;
  const auto check = [&](const char* split, const DataSource& source) {
    const auto dataset = open_dataset(config, source);
    Reader reader(*dataset, config.target.labels(), config.model->num_tokens() > 0, pool);
    out.text += source_text(split, source, *dataset, reader.facts());
    const std::vector<std::uint64_t> rows = reader.sorted_hashes();
    if (const std::int64_t repeated = count_repeated(rows); repeated > 0) {
      out.text +=
          cat("  repeated    ", counted(repeated, "sample is", "samples are"), " there already\n");
    }
    if (train_rows.empty()) {
      train_rows = rows;
    } else if (const std::int64_t shared = count_found(rows, train_rows); shared > 0) {
      out.text += cat("  warning     ", counted(shared, "sample is", "samples are"),
                      " in the training data, too\n");
    }
    const std::int64_t num_bad = static_cast<std::int64_t>(reader.bad().samples().size());
    out.text += cat("  bad         ", num_bad, "\n");
    out.num_bad += num_bad;
    for (const std::string& problem : reader.bad().take_news()) {
      if (out.first_bad.size() == kMost_named) break;
      out.first_bad.push_back(problem);
    }
  };
  check("train", *config.train_data);
  if (config.eval_data) check("eval", *config.eval_data);
  return out;
}

}  // namespace dlt::train
