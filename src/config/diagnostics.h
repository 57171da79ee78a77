// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace dlt::config {

struct Node;

/// A place in a config: 1-based line and column. source is the file name, or "--set".
struct Mark {
  std::string source;
  int line = 0;
  int column = 0;
  int length = 1;  // characters to underline
};

/// Collects the mistakes of a config and prints them all at once, 20 at most.
/// The form is CONTRACT.md's: FILE:LINE:COL: error: DOTTED.KEY: message, then for a file the source
/// line with a caret line, then a hint line where there is one.
class Diagnostics {
 public:
  Diagnostics();
  ~Diagnostics();
  Diagnostics(Diagnostics&&) noexcept;
  Diagnostics& operator=(Diagnostics&&) noexcept;

  /// key may be empty (then no "KEY: " is printed); message is e.g. "expected an integer from 1 to
  /// 8, got '0'".
  void error(const Mark& mark, const std::string& key, const std::string& message,
             const std::string& hint = {});
  /// Drops all further mistakes: after text that is not YAML nothing later can be judged.
  void seal() { sealed_ = true; }
  /// The text of a source, so that its lines can be quoted.
  void add_source(const std::string& source, const std::string& text);
  [[nodiscard]] bool ok() const { return entries_.empty(); }
  /// Number of mistakes recorded (also those past the 20 that are printed).
  [[nodiscard]] std::size_t size() const { return num_mistakes_; }
  /// All messages in order of line and column, those of --set last and in the order they were
  /// recorded; ready to print; ends with a newline.
  [[nodiscard]] std::string text() const;
  /// Throws Error(Exit::config, text()) if there is any mistake. The text is complete as it is:
  /// the launcher prints it without a prefix of its own.
  void throw_if_any() const;

  /// A key that was not in the file and took this value; for the resolved configuration.
  void note_default(const std::string& path, Node value);
  [[nodiscard]] const std::vector<std::pair<std::string, Node>>& defaults() const;

 private:
  struct Entry {
    Mark mark;
    std::string key, message, hint;
  };
  struct Source {
    std::string name, text;
  };
  [[nodiscard]] std::size_t source_index(const std::string& name) const;
  void print(const Entry& entry, std::string& out) const;
  std::vector<Entry> entries_;
  std::vector<Source> sources_;
  std::size_t num_mistakes_ = 0;
  bool sealed_ = false;  // by seal()
  // Behind a pointer: a Node holds a Mark, which is declared here.
  std::unique_ptr<std::vector<std::pair<std::string, Node>>> defaults_;
};

}  // namespace dlt::config
