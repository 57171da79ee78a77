# SPDX-License-Identifier: Apache-2.0
# Interface target dltrain_flags: language level, warnings, hardening, sanitizers.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# -g1: functions and lines, so that a profile or a core file can be read; costs no run time.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)
find_program(DLTRAIN_CCACHE ccache)
if(DLTRAIN_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${DLTRAIN_CCACHE}")
endif()

add_library(dltrain_flags INTERFACE)
# One binary for every node: x86-64-v3 is the floor, faster units are chosen at run time.
target_compile_options(dltrain_flags INTERFACE -march=x86-64-v3 -Wall -Wextra
  -Wno-missing-field-initializers -Wconversion -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -fno-omit-frame-pointer)
target_compile_definitions(dltrain_flags INTERFACE $<$<CONFIG:Debug>:DLTRAIN_KILL_POINTS>)
# g++ spends a tenth of its time collecting garbage; half a gigabyte at most is kept instead.
target_compile_options(dltrain_flags INTERFACE
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:SHELL:--param ggc-min-heapsize=500000>)
if(DLTRAIN_WERROR)
  target_compile_options(dltrain_flags INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT DLTRAIN_SANITIZE)
  target_compile_options(dltrain_flags INTERFACE -fstack-protector-strong -fstack-clash-protection
    -fcf-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -D_GLIBCXX_ASSERTIONS)
  target_link_options(dltrain_flags INTERFACE -Wl,-z,relro,-z,now -Wl,-z,noexecstack)
endif()
if(DLTRAIN_SANITIZE)
  target_compile_options(dltrain_flags INTERFACE -fsanitize=${DLTRAIN_SANITIZE} -O1 -g
    -fno-sanitize-recover=all)
  target_link_options(dltrain_flags INTERFACE -fsanitize=${DLTRAIN_SANITIZE})
endif()
