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
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")

add_library(dltrain_flags INTERFACE)
# One binary for every node: x86-64-v3 is the floor, faster units are chosen at run time.
target_compile_options(dltrain_flags INTERFACE -march=x86-64-v3 -Wall -Wextra -Wconversion -Wshadow
  -Wnon-virtual-dtor -Woverloaded-virtual -fno-omit-frame-pointer)
if(DLTRAIN_WERROR)
  target_compile_options(dltrain_flags INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT DLTRAIN_SANITIZE)
  target_compile_options(dltrain_flags INTERFACE -fstack-protector-strong -fstack-clash-protection
    -fcf-protection -D_FORTIFY_SOURCE=2 -D_GLIBCXX_ASSERTIONS)
  target_link_options(dltrain_flags INTERFACE -Wl,-z,relro,-z,now -Wl,-z,noexecstack -pie)
endif()
if(DLTRAIN_SANITIZE)
  target_compile_options(dltrain_flags INTERFACE -fsanitize=${DLTRAIN_SANITIZE} -O1 -g)
  target_link_options(dltrain_flags INTERFACE -fsanitize=${DLTRAIN_SANITIZE})
endif()
