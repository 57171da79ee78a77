# SPDX-License-Identifier: Apache-2.0
# cmake -DNM=<program> -DOBJECTS=a.o,b.o -P no_weak_symbols.cmake: objects compiled for AVX-512 define
# no weak symbol. The linker keeps one copy of those for the whole program, and a processor without
# AVX-512 must never meet theirs.
cmake_minimum_required(VERSION 3.25)
string(REPLACE "," ";" objects "${OBJECTS}")
list(FILTER objects EXCLUDE REGEX "\\.gch$")  # the precompiled header
execute_process(COMMAND "${NM}" -C --defined-only ${objects} OUTPUT_VARIABLE symbols
  RESULT_VARIABLE result)
if(NOT result EQUAL 0 OR NOT symbols MATCHES " T dlt::cpu::avx512::run_")
  message(FATAL_ERROR "nm finds no kernel in ${objects}")
endif()
string(REGEX MATCHALL "[0-9a-f]+ [WVu] [^\n]+" weak "${symbols}")
if(weak)
  list(JOIN weak "\n  " text)
  message(FATAL_ERROR "weak symbols in objects compiled for AVX-512:\n  ${text}")
endif()
