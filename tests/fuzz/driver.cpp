// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target on mutations of its seeds:
//   config_fuzz [--runs N] [--seed S] [--words FILE] SEED_FILE_OR_FOLDER...
//   config_fuzz --replay FILE
// Every seed is run as it is first. The same options give the same inputs. An input that crashes,
// takes longer than kTimeout_s, or lets an exception through is written to ./crash-SEED-RUN before
// the program ends.
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

namespace {

constexpr unsigned kTimeout_s = 20;
constexpr std::size_t kMaxInput_bytes = 1 << 16;

// Read by the signal handler alone, which nothing can be passed to.
std::string current_input;
char crash_path[64];

void dump(int signal) {
  const int file = ::open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0 && ::write(file, current_input.data(), current_input.size()) >= 0) {
    static const char kSaid[] = "fuzz: the input is in ";
    (void)!::write(2, kSaid, sizeof kSaid - 1);
    (void)!::write(2, crash_path, std::strlen(crash_path));
    (void)!::write(2, "\n", 1);
  }
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  if (!file) std::cerr << "fuzz: " << path << " cannot be read\n";
  return out.str();
}

std::vector<std::string> read_seeds(const std::vector<std::string>& paths) {
  std::vector<std::string> files, out;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path))
      files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) out.push_back(read(file));
  return out;
}

/// Changes texts and binary files alike.
class Mutator {
 public:
  Mutator(std::uint64_t seed, const std::vector<std::string>& seeds, std::vector<std::string> words)
      : random_(seed), seeds_(seeds), words_(std::move(words)) {}

  std::string next() {
    std::string out = seeds_[below(seeds_.size())];
    for (std::size_t edits = 1 + below(below(4) == 0 ? 16 : 3); edits > 0; --edits) edit(out);
    if (out.size() > kMaxInput_bytes) out.resize(kMaxInput_bytes);
    return out;
  }

 private:
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }
  std::string piece(const std::string& text) {
    const std::size_t at = below(text.size());
    return text.substr(at, 1 + below(below(4) == 0 ? 256 : 16));
  }
  void put(std::string& text, const std::string& piece) {
    text.insert(below(text.size() + 1), piece);
  }

  void edit(std::string& text) {
    const std::size_t at = below(text.size());
    switch (text.empty() ? 2 : below(10)) {
      case 0:
        text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        break;
      case 1:
        text[at] = static_cast<char>(random_());
        break;
      case 2:
        put(text, std::string(1 + below(4), static_cast<char>(random_())));
        break;
      case 3:
        text.erase(at, 1 + below(below(4) == 0 ? 256 : 8));
        break;
      case 4:
        put(text, piece(text));
        break;
      case 5:
        put(text, piece(seeds_[below(seeds_.size())]));
        break;
      case 6:
        if (!words_.empty()) put(text, words_[below(words_.size())]);
        break;
      case 7:
        edit_integer(text, at);
        break;
      case 8:
        edit_digits(text, at);
        break;
      default:
        text.resize(at);
        break;
    }
  }

  /// Little-endian numbers at the edges of their types.
  void edit_integer(std::string& text, std::size_t at) {
    const std::size_t width = std::size_t{1} << below(4);
    const std::uint64_t one = 1;
    const std::uint64_t edges[] = {
        0,         1,         ~std::uint64_t{0}, one << 31,   (one << 31) - 1,
        one << 32, one << 62, one << 63,         text.size(), random_()};
    const std::uint64_t number = edges[below(std::size(edges))] + below(3) - 1;
    for (std::size_t i = 0; i < width && at + i < text.size(); ++i) {
      text[at + i] = static_cast<char>(number >> (8 * i));
    }
  }

  /// Another number in place of the next decimal one.
  void edit_digits(std::string& text, std::size_t at) {
    const std::size_t begin = text.find_first_of("0123456789", at);
    if (begin == std::string::npos) return;
    const std::size_t end = std::min(text.find_first_not_of("0123456789", begin), text.size());
    static const char* const kNumbers[] = {"0",
                                           "-1",
                                           "1",
                                           "2147483648",
                                           "4294967296",
                                           "1048577",
                                           "1e400",
                                           "0.5",
                                           "9223372036854775807",
                                           "18446744073709551616",
                                           "4611686018427387904",
                                           "65536",
                                           "00",
                                           "1e-320"};
    text.replace(begin, end - begin, kNumbers[below(std::size(kNumbers))]);
  }

  std::mt19937_64 random_;
  const std::vector<std::string>& seeds_;
  std::vector<std::string> words_;
};

void run_one(const std::string& input, std::uint64_t seed, long long number) {
  current_input = input;
  std::snprintf(crash_path, sizeof crash_path, "crash-%llu-%lld",
                static_cast<unsigned long long>(seed), number);
  ::alarm(kTimeout_s);
  // A buffer of just this size, so that a sanitizer sees what is read behind it.
  const std::vector<std::uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

template <typename Number>
Number number_of(const std::string& text) {
  Number out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc() && end == text.data() + text.size()) return out;
  std::cerr << "fuzz: expected a number, got '" << text << "'\n";
  std::exit(64);
}

}  // namespace

int main(int argc, char** argv) {
  long long runs = 1000;
  std::uint64_t seed = 1;
  std::vector<std::string> paths, words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool last = i + 1 == argc;
    if (word == "--runs" && !last) {
      runs = number_of<long long>(argv[++i]);
    } else if (word == "--seed" && !last) {
      seed = number_of<std::uint64_t>(argv[++i]);
    } else if (word == "--words" && !last) {
      std::ifstream file(argv[++i]);
      for (std::string line; std::getline(file, line);) words.push_back(line);
    } else if (word == "--replay" && !last) {
      run_one(read(argv[++i]), seed, -1);
      return 0;
    } else {
      paths.push_back(word);
    }
  }
  const std::vector<std::string> seeds = read_seeds(paths);
  if (seeds.empty()) {
    std::cerr << "fuzz: expected seeds, got none\n";
    return 64;
  }
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGALRM})
    std::signal(signal, dump);
  long long number = 0;
  for (const std::string& input : seeds) run_one(input, seed, number++);
  Mutator mutator(seed, seeds, std::move(words));
  while (number < runs) run_one(mutator.next(), seed, number++);
  std::cout << number << " inputs from " << seeds.size() << " seeds, none of them crashed\n";
  return 0;
}
