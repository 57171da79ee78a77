// SPDX-License-Identifier: Apache-2.0
#include "cuda_emulator/fibre.h"

#include <cstdint>
#include <cstdlib>

#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

// Saves the registers that a callee must keep, swaps stacks, restores. The floating-point control
// words are the same on both sides.
extern "C" void dlt_emulator_switch(void** save, void* load);
extern "C" void dlt_emulator_begin();
asm(R"(
.text
.globl dlt_emulator_switch
.hidden dlt_emulator_switch
.type dlt_emulator_switch,@function
dlt_emulator_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size dlt_emulator_switch,.-dlt_emulator_switch
.globl dlt_emulator_begin
.hidden dlt_emulator_begin
.type dlt_emulator_begin,@function
dlt_emulator_begin:
  endbr64
  movq %rbx, %rdi
  xorl %ebp, %ebp
  call *%r12
  ud2
.size dlt_emulator_begin,.-dlt_emulator_begin
)");

namespace dlt::emulator {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kStack_bytes = 512 << 10;
#else
constexpr std::size_t kStack_bytes = 128 << 10;
#endif
constexpr std::size_t kGuard_bytes = 4096;

/// Stacks that all begin at the same offset of a page would fight over the same lines of the cache.
std::size_t colour() {
  static thread_local std::size_t num_stacks = 0;
  return num_stacks++ * 13 % 64 * 64;
}

}  // namespace

void begin_fibre(Fibre* self) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &self->caller_stack_, &self->caller_stack_bytes_);
#endif
  self->entry_(self->argument_);
}

Fibre::Fibre(void (*entry)(void*), void* argument) : entry_(entry), argument_(argument) {
  void* memory = mmap(nullptr, kStack_bytes + kGuard_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuard_bytes, PROT_NONE) != 0) std::abort();
  stack_ = static_cast<std::byte*>(memory) + kGuard_bytes;
  // What the first switch pops: r15 r14 r13 r12 rbx rbp, then the address it returns to. Nine words
  // leave the stack as the ABI wants it at the call.
  auto* top = reinterpret_cast<std::uintptr_t*>(stack_ + kStack_bytes - colour()) - 9;
  top[3] = reinterpret_cast<std::uintptr_t>(&begin_fibre);  // r12
  top[4] = reinterpret_cast<std::uintptr_t>(this);          // rbx
  top[6] = reinterpret_cast<std::uintptr_t>(&dlt_emulator_begin);
  own_ = top;
#if defined(__SANITIZE_THREAD__)
  sanitizer_fibre_ = __tsan_create_fiber(0);
#endif
}

Fibre::~Fibre() {
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(sanitizer_fibre_);
#endif
  munmap(stack_ - kGuard_bytes, kStack_bytes + kGuard_bytes);
}

void Fibre::resume() {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stack_, kStack_bytes);
#elif defined(__SANITIZE_THREAD__)
  sanitizer_caller_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(sanitizer_fibre_, 0);
#endif
  dlt_emulator_switch(&caller_, own_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fibre::suspend() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fake_stack_, caller_stack_, caller_stack_bytes_);
#elif defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(sanitizer_caller_, 0);
#endif
  dlt_emulator_switch(&own_, caller_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &caller_stack_, &caller_stack_bytes_);
#endif
}

}  // namespace dlt::emulator
