# SPDX-License-Identifier: Apache-2.0
# cmake -DROOT=<repository> -P cmake/layers.cmake: who may include whom, where foreign headers and
# getenv may stand, file sizes, and the SPDX line. Run as the test style.layers.

cmake_minimum_required(VERSION 3.25)

# Folder of src -> the other folders whose headers it may include. backend and comm/backend are
# linked, never included.
set(may_base "")
set(may_tensor base)
set(may_comm base)
set(may_config base)
set(may_observe base)
set(may_autodiff tensor base)
set(may_checkpoint tensor base)
set(may_backend tensor base)
set(may_data config tensor base)
set(may_ops autodiff tensor base)
set(may_weights data checkpoint tensor base)
set(may_onnx autodiff tensor base)
set(may_import data config tensor base)
set(may_nn ops autodiff config tensor base)
set(may_optim ops autodiff config tensor base)
set(may_ddp autodiff comm tensor observe base)
set(may_train nn optim ddp weights data checkpoint observe ops autodiff comm config tensor base)
set(may_dltrain train nn optim ddp import data checkpoint observe ops autodiff comm config tensor
  base)
set(may_launcher train nn optim ddp import weights onnx data checkpoint observe ops autodiff comm config tensor
  base)

# Folders of launcher of which dlrun is made: a supervisor links no MPI and no CUDA.
set(may_supervisor launcher config observe base)

# Foreign header -> the files that may include it. The first rule that matches counts.
set(foreign_rules
  "^mpi(-ext)?\\.h$"            "^src/comm/backend/mpi[a-z_]*\\.cpp$"
  "^nccl\\.h$"                 "^src/comm/backend/nccl\\.cpp$"
  "^(hdf5|H5[A-Za-z]*)\\.h$"   "^src/(data|import)/.*\\.cpp$"
  "^yaml-cpp/"                 "^src/config/.*\\.cpp$"
  "^(oneapi/dnnl/|dnnl)"       "^src/backend/cpu/.*\\.cpp$"
  "^omp\\.h$"                  "^src/backend/cpu/.*\\.cpp$"
  "^(cuda|cublas|cudnn|nvml)"  "^src/backend/cuda/"
  "^CLI/"                      "^launcher/.*\\.cpp$"
  "^boost/"                    "^launcher/.*\\.cpp$"
  "^zlib\\.h$"                 "^src/(import|weights)/.*\\.cpp$"
  "^(png|jpeglib)\\.h$"        "^src/import/.*\\.cpp$"
  "^openssl/"                  "^src/base/.*\\.cpp$"
  "^xxhash\\.h$"               "^src/base/.*\\.cpp$"
  "^(nlohmann|spdlog|fmt)/"    "\\.(cpp|cu)$"
  # The standard library, POSIX and the compiler's own.
  "^[a-z0-9_]+$"               "."
  "^(sys|linux|arpa|netinet|net)/[a-z_]+\\.h$" "."
  "^(cpuid|dirent|dlfcn|elf|execinfo|fcntl|immintrin|link|netdb|poll|pthread|sched|signal|spawn|time|unistd)\\.h$" ".")

set(problems "")
macro(problem text)
  string(APPEND problems "${path}:${number}: ${text}\n")
endmacro()

function(check_own_include header)
  if(NOT header MATCHES "^([a-z]+)/")
    problem("\"${header}\": expected the folder's name in front, as in \"ddp/reducer.h\"")
  else()
    set(to "${CMAKE_MATCH_1}")
    string(REGEX MATCH "^(comm/backend|backend/[a-z]+)/" engine "${header}")
    if(engine AND NOT path MATCHES "^src/${engine}")
      problem("\"${header}\": back ends are linked, not included")
    elseif(NOT to STREQUAL from AND NOT to IN_LIST may_${from})
      string(REPLACE ";" " " legal "${may_${from}}")
      problem("\"${header}\": ${from} may include only: ${from} ${legal}")
    endif()
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

function(check_foreign_include header)
  set(rules ${foreign_rules})
  while(rules)
    list(POP_FRONT rules pattern where)
    if(header MATCHES "${pattern}")
      if(NOT path MATCHES "${where}")
        problem("<${header}>: may be included only by files matching ${where}")
        set(problems "${problems}" PARENT_SCOPE)
      endif()
      return()
    endif()
  endwhile()
  problem("<${header}>: not known; add it to foreign_rules in cmake/layers.cmake")
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

function(check_file path)
  if(path MATCHES "^src/([a-z]+)/")
    set(from "${CMAKE_MATCH_1}")
  elseif(path MATCHES "^launcher/(control|supervise)/")
    set(from supervisor)
  else()
    set(from launcher)
  endif()
  set(number 1)
  if(NOT DEFINED may_${from})
    problem("folder '${from}' is not in cmake/layers.cmake")
  endif()
  file(READ "${ROOT}/${path}" text)
  if(NOT text MATCHES "^// SPDX-License-Identifier: Apache-2\\.0\n")
    problem("expected '// SPDX-License-Identifier: Apache-2.0' as the first line")
  endif()
  string(REGEX MATCHALL "\n" newlines "${text}")
  list(LENGTH newlines num_lines)
  if(num_lines GREATER 600)
    problem("expected at most 600 lines, got ${num_lines}")
  endif()

  # Only the lines of interest: a list of all lines would not survive [ and ; in them.
  file(STRINGS "${ROOT}/${path}" includes REGEX "^[ \t]*#[ \t]*include[ \t]")
  foreach(line IN LISTS includes)
    string(FIND "${text}" "${line}" at)
    string(SUBSTRING "${text}" 0 ${at} before)
    string(REGEX MATCHALL "\n" newlines "${before}")
    list(LENGTH newlines number)
    math(EXPR number "${number} + 1")
    if(line MATCHES "include[ \t]+\"([^\"]+)\"")
      check_own_include("${CMAKE_MATCH_1}")
    elseif(line MATCHES "include[ \t]+<([^>]+)>")
      check_foreign_include("${CMAKE_MATCH_1}")
    else()
      problem("neither \"...\" nor <...>: ${line}")
    endif()
  endforeach()
  set(number 1)
  # Open MPI's settings are in the environment by MPI's own design.
  if(NOT path MATCHES "^(launcher/rank_env|src/comm/backend/open_mpi_settings)\\.cpp$"
     AND text MATCHES "[^a-z_](secure_getenv|getenv)[ \t]*\\(")
    problem("getenv: the environment is read in launcher/rank_env.cpp alone")
  endif()
  set(problems "${problems}" PARENT_SCOPE)
endfunction()

file(GLOB_RECURSE files RELATIVE "${ROOT}" "${ROOT}/src/*" "${ROOT}/launcher/*")
set(num_files 0)
foreach(path IN LISTS files)
  if(path MATCHES "\\.(h|cpp|cu|cuh|def|inc)$")
    check_file("${path}")
    math(EXPR num_files "${num_files} + 1")
  endif()
endforeach()
if(num_files EQUAL 0)
  message(FATAL_ERROR "no source file under ${ROOT}")
endif()
if(problems)
  message(NOTICE "${problems}")
  message(FATAL_ERROR "the rules of cmake/layers.cmake are broken")
endif()
message(STATUS "${num_files} files keep the rules")
