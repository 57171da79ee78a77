// SPDX-License-Identifier: Apache-2.0
#include "import/bpe_trainer.h"

#include <algorithm>
#include <queue>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace dlt::import_ {
namespace {

using Merge = data::Tokenizer::Merge;

struct Word {
  std::vector<std::int32_t> ids;
  std::int64_t count = 0;
};

struct PairUse {
  std::int64_t count = 0;
  std::vector<std::uint32_t> words;  // that hold it, or did; some twice
};

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
         static_cast<std::uint32_t>(right);
}

struct Candidate {
  std::int64_t count = 0;
  std::uint64_t key = 0;
  /// The larger is merged first.
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.count != b.count ? a.count < b.count : a.key > b.key;
  }
};

class Trainer {
 public:
  explicit Trainer(std::string_view text) {
    std::unordered_map<std::string_view, std::uint32_t> places;
    data::for_words(text, [&](std::string_view word) {
      const auto [entry, is_new] =
          places.try_emplace(word, static_cast<std::uint32_t>(words_.size()));
      if (is_new) {
        words_.emplace_back();
        for (const char c : word) words_.back().ids.push_back(static_cast<unsigned char>(c));
      }
      ++words_[entry->second].count;
    });
    for (int byte = 0; byte < 256; ++byte) {
      tokens_.emplace_back(1, static_cast<char>(byte));
      ids_.emplace(tokens_.back(), byte);
    }
    for (std::uint32_t w = 0; w < words_.size(); ++w) count_pairs(w, 1, true);
    for (const auto& [key, use] : pairs_) heap_.push({use.count, key});
  }

  void grow_to(std::int64_t num_tokens) {
    while (static_cast<std::int64_t>(tokens_.size()) < num_tokens && !heap_.empty()) {
      const Candidate best = heap_.top();
      heap_.pop();
      if (best.count < 2) return;
      if (best.count == pairs_.at(best.key).count) merge(best.key);
      // Else the count has changed since, and another candidate carries the new one.
    }
  }

  [[nodiscard]] data::Tokenizer tokenizer() {
    return {data::Tokenizer::Kind::byte_pairs, std::move(tokens_), std::move(merges_),
            "trained byte pairs"};
  }

 private:
  /// Adds (sign 1) or takes away (sign -1) a word's pairs.
  void count_pairs(std::uint32_t place, int sign, bool note_word) {
    const Word& word = words_[place];
    for (std::size_t i = 0; i + 1 < word.ids.size(); ++i) {
      const std::uint64_t key = key_of(word.ids[i], word.ids[i + 1]);
      PairUse& use = pairs_[key];
      use.count += sign * word.count;
      changed_.push_back(key);
      if (note_word) use.words.push_back(place);
    }
  }

  void merge(std::uint64_t key) {
    const Merge pair{static_cast<std::int32_t>(key >> 32), static_cast<std::int32_t>(key)};
    const std::string joined = tokens_[static_cast<std::size_t>(pair.left)] +
                               tokens_[static_cast<std::size_t>(pair.right)];
    const auto [entry, is_new] = ids_.emplace(joined, static_cast<std::int32_t>(tokens_.size()));
    if (is_new) tokens_.push_back(joined);
    merges_.push_back(pair);
    std::vector<std::uint32_t> places = std::move(pairs_[key].words);
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    changed_.clear();
    for (const std::uint32_t place : places) replace(place, pair, entry->second);
    std::sort(changed_.begin(), changed_.end());
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
    for (const std::uint64_t other : changed_) {
      const std::int64_t count = pairs_[other].count;
      if (count > 0) heap_.push({count, other});
    }
  }

  void replace(std::uint32_t place, const Merge& pair, std::int32_t result) {
    count_pairs(place, -1, false);
    std::vector<std::int32_t>& ids = words_[place].ids;
    std::size_t to = 0;
    for (std::size_t from = 0; from < ids.size(); ++from, ++to) {
      const bool here =
          from + 1 < ids.size() && ids[from] == pair.left && ids[from + 1] == pair.right;
      ids[to] = here ? result : ids[from];
      if (here) ++from;
    }
    ids.resize(to);
    count_pairs(place, 1, false);
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      if (ids[i] != result && ids[i + 1] != result) continue;
      pairs_[key_of(ids[i], ids[i + 1])].words.push_back(place);
    }
  }

  std::vector<Word> words_;
  std::vector<std::string> tokens_;
  std::vector<Merge> merges_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::unordered_map<std::uint64_t, PairUse> pairs_;
  std::priority_queue<Candidate> heap_;
  std::vector<std::uint64_t> changed_;  // pairs whose count the merge at hand has touched
};

}  // namespace

data::Tokenizer train_byte_pairs(std::string_view text, std::int64_t num_tokens) {
  Trainer trainer(text);
  trainer.grow_to(num_tokens);
  return trainer.tokenizer();
}

}  // namespace dlt::import_
