# SPDX-License-Identifier: Apache-2.0
# cmake -DROOT=<repository> -DCLANG_FORMAT=<program> -P format.cmake: every source file is as
# clang-format 14 writes it. Other versions disagree about details, so only that one is used.
cmake_minimum_required(VERSION 3.25)
if(NOT CLANG_FORMAT)
  message("SKIP: clang-format-14 is not installed: apt-get install clang-format-14")
  return()
endif()
set(files "")
foreach(folder src launcher tests bench)
  foreach(suffix h cpp cu)
    file(GLOB_RECURSE found "${ROOT}/${folder}/*.${suffix}")
    list(APPEND files ${found})
  endforeach()
endforeach()
execute_process(COMMAND "${CLANG_FORMAT}" --dry-run -Werror ${files} RESULT_VARIABLE result
  ERROR_VARIABLE errors)
if(NOT result EQUAL 0)
  message(NOTICE "${errors}")
  message(FATAL_ERROR "not formatted; fix it by: clang-format-14 -i FILE")
endif()
list(LENGTH files num_files)
message(STATUS "${num_files} files are formatted")
