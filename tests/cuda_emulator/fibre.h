// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace dlt::emulator {

/// A stack of its own on which one function runs, switched to and away from by the thread that owns
/// it. Never moves between threads while it is suspended inside user code.
class Fibre {
 public:
  /// entry(argument) begins at the first resume() and must never return.
  Fibre(void (*entry)(void*), void* argument);
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;
  /// From the owner's own stack: goes on inside the fibre until that calls suspend().
  void resume();
  /// From inside the fibre: back to where resume() was called.
  void suspend();

 private:
  friend void begin_fibre(Fibre* self);
  void (*entry_)(void*);
  void* argument_;
  std::byte* stack_;                    // lowest address; a page that nobody can touch comes first
  void* own_ = nullptr;                 // stack pointer while suspended
  void* caller_ = nullptr;              // the resumer's stack pointer
  const void* caller_stack_ = nullptr;  // for AddressSanitizer
  std::size_t caller_stack_bytes_ = 0;
  void* fake_stack_ = nullptr;
  void* sanitizer_fibre_ = nullptr;  // for ThreadSanitizer
  void* sanitizer_caller_ = nullptr;
};

}  // namespace dlt::emulator
