// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dlt {

/// Exit codes of every program (sysexits where one fits). Who is to blame, and whether a restart
/// helps.
enum class Exit : std::uint8_t {
  ok = 0,
  usage = 64,        // wrong command line
  data = 65,         // bad content of data or checkpoint
  missing = 66,      // an input file is missing
  unavailable = 69,  // port, host or device unavailable
  internal = 70,     // our bug
  io = 74,           // the final checkpoint could not be written
  preempted = 75,    // state saved, requeue me
  denied = 77,       // permission or token
  config = 78,       // configuration
  numerics = 80,     // non-finite numbers, by policy
  peer_lost = 81,    // a peer was lost or hung (worth a retry)
  budget = 82,       // restart budget spent
};

/// The code of that number, none for a number that is no code of ours.
[[nodiscard]] std::optional<Exit> exit_of(int code);

/// The one exception type. what() reads "WHERE: what, expected, got"; hint() may be empty.
/// A message that ends with a newline is complete (config diagnostics): it is printed as it is, any
/// other as "dltrain: error: " + what() and, where there is one, a line "  hint: " + hint().
class Error : public std::runtime_error {
 public:
  Error(Exit exit, std::string message, std::string hint = {});
  [[nodiscard]] Exit exit() const { return exit_; }
  [[nodiscard]] const std::string& hint() const { return hint_; }
  /// Whose failure it is, where the ranks agreed on one; else -1.
  [[nodiscard]] int rank() const { return rank_; }
  void set_rank(int rank) { rank_ = rank; }

 private:
  Exit exit_;
  std::string hint_;
  int rank_ = -1;
};

/// Throws Error(Exit::internal, ...) naming file, line and expression.
[[noreturn]] void check_failed(const char* file, int line, const char* expression,
                               std::string_view detail);

}  // namespace dlt

/// For bugs only, never for user mistakes. Always on.
#define DLT_CHECK(cond, detail)                                          \
  do {                                                                   \
    if (!(cond)) ::dlt::check_failed(__FILE__, __LINE__, #cond, detail); \
  } while (false)
