# SPDX-License-Identifier: Apache-2.0

# The headers that most files read, parsed once for all folders of src and once for all tests. Each file still includes
# what it uses: -DDLTRAIN_PCH=OFF builds without. A file with compile options of its own needs SKIP_PRECOMPILE_HEADERS: g++
# takes some options, -ffp-contract among them, from the precompiled header without a word.
option(DLTRAIN_PCH "Precompiled headers" ON)
file(CONFIGURE OUTPUT pch.cpp CONTENT "int main() {}  // carries a precompiled header\n")
function(dltrain_use_pch target pch)
  if(DLTRAIN_PCH)
    target_precompile_headers(${target} REUSE_FROM ${pch})
  endif()
endfunction()
if(DLTRAIN_PCH)
  add_library(dltrain_src_pch OBJECT "${PROJECT_BINARY_DIR}/pch.cpp")
  target_link_libraries(dltrain_src_pch PRIVATE dltrain_flags)
  target_precompile_headers(dltrain_src_pch PRIVATE <algorithm> <array> <chrono> <cmath> <cstddef> <cstdint> <cstring>
    <fstream> <functional> <limits> <map> <memory> <mutex> <optional> <span> <sstream> <string> <string_view> <thread>
    <utility> <vector>)
endif()

# Small files are compiled several at once: most of a file's time goes to headers and templates that its neighbours need
# too. So the names in anonymous namespaces differ within a folder (ctest style.unity_names). A file with compile options
# of its own stays alone, and with -DDLTRAIN_UNITY=OFF each.
option(DLTRAIN_UNITY "Several files of a folder are compiled at once" ON)
function(dltrain_unity target batch_size)
  if(NOT DLTRAIN_UNITY)
    return()
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  # A type of an anonymous namespace is then not seen to be of the main file.
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX "^[^$]*[.]cpp$")
  set(index 0)
  foreach(source IN LISTS sources)
    # Files with kill points are replaced in dltrain_killable, so no others may be in their objects.
    file(STRINGS "${source}" found REGEX "DLT_KILL_POINT\\(" LIMIT_COUNT 1)
    if(found)
      set(group kill_points)
    else()
      math(EXPR group "${index} / ${batch_size}")
      math(EXPR index "${index} + 1")
    endif()
    set_source_files_properties("${source}" PROPERTIES UNITY_GROUP ${group})
  endforeach()
endfunction()

# The same for kernels of CUDA, which CMake 3.25 does not join itself: dltrain_joined(out name batch_size a.cu b.cu ...)
function(dltrain_joined out name batch_size)
  if(NOT DLTRAIN_UNITY)
    set(${out} ${ARGN} PARENT_SCOPE)
    return()
  endif()
  set(units "")
  set(rest ${ARGN})
  while(rest)
    list(SUBLIST rest 0 ${batch_size} batch)
    list(REMOVE_ITEM rest ${batch})
    set(text "")
    foreach(source IN LISTS batch)
      get_filename_component(path "${source}" ABSOLUTE)
      string(APPEND text "#include \"${path}\"\n")
    endforeach()
    list(LENGTH units index)
    set(unit "${CMAKE_CURRENT_BINARY_DIR}/${name}_${index}.cu")
    file(CONFIGURE OUTPUT "${unit}" CONTENT "${text}" @ONLY)
    list(APPEND units "${unit}")
  endwhile()
  set(${out} ${units} PARENT_SCOPE)
endfunction()

# One static library per folder of src: dltrain_folder(ddp DEPS autodiff comm tensor SOURCES a.cpp b.cpp LIBS x::y)
# DEPS name other folders of src; LIBS name third-party targets, linked privately.
function(dltrain_folder name)
  cmake_parse_arguments(ARG "" "" "DEPS;SOURCES;LIBS" ${ARGN})
  string(REPLACE "/" "_" target "dltrain_${name}")
  add_library(${target} STATIC ${ARG_SOURCES})
  target_include_directories(${target} PUBLIC "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(${target} PRIVATE dltrain_flags ${ARG_LIBS})
  dltrain_use_pch(${target} dltrain_src_pch)
  dltrain_unity(${target} 20)
  foreach(dep IN LISTS ARG_DEPS)
    string(REPLACE "/" "_" dep_target "dltrain_${dep}")
    target_link_libraries(${target} PUBLIC ${dep_target})
  endforeach()
endfunction()

# Tests are built with little optimisation and without debug information: they are compiled more often than they run.
set(DLTRAIN_TEST_OPTIONS $<$<CONFIG:Release>:-O1> $<$<CONFIG:Release>:-g0>)
if(DLTRAIN_TESTS AND DLTRAIN_PCH)
  add_executable(dltrain_test_pch "${PROJECT_BINARY_DIR}/pch.cpp")
  target_link_libraries(dltrain_test_pch PRIVATE dltrain_flags GTest::gtest GTest::gmock)
  target_compile_options(dltrain_test_pch PRIVATE ${DLTRAIN_TEST_OPTIONS})
  target_precompile_headers(dltrain_test_pch PRIVATE <gtest/gtest.h> <gmock/gmock.h> <algorithm> <array> <cmath> <cstdint>
    <cstring> <filesystem> <functional> <map> <memory> <span> <string> <vector>)
endif()

# Test sources that several programs share, compiled once: LIBS name them.
function(dltrain_test_objects name)
  cmake_parse_arguments(ARG "" "" "DEPS;SOURCES" ${ARGN})
  add_library(${name} OBJECT ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${name} PRIVATE -fPIE)  # as programs, and as their precompiled header
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests" "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(${name} PRIVATE dltrain_flags GTest::gtest GTest::gmock)
  target_compile_options(${name} PRIVATE ${DLTRAIN_TEST_OPTIONS})
  foreach(dep IN LISTS ARG_DEPS)
    string(REPLACE "/" "_" dep_target "dltrain_${dep}")
    target_link_libraries(${name} PRIVATE ${dep_target})
  endforeach()
  dltrain_use_pch(${name} dltrain_test_pch)
  dltrain_unity(${name} 20)
endfunction()

# One GoogleTest program, one CTest entry for each rank count:
# dltrain_test(ddp_test SOURCES a_test.cpp DEPS ddp comm LABELS unit [RANKS 1 2 3 4] [LIBS x::y])
# With RANKS the program supplies its own main() (it initialises MPI) and runs under mpirun.
function(dltrain_test name)
  cmake_parse_arguments(ARG "" "" "DEPS;SOURCES;LIBS;LABELS;RANKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests" "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(${name} PRIVATE dltrain_flags GTest::gtest GTest::gmock ${ARG_LIBS})
  target_compile_options(${name} PRIVATE ${DLTRAIN_TEST_OPTIONS})
  dltrain_use_pch(${name} dltrain_test_pch)
  dltrain_unity(${name} 20)
  foreach(dep IN LISTS ARG_DEPS)
    string(REPLACE "/" "_" dep_target "dltrain_${dep}")
    target_link_libraries(${name} PRIVATE ${dep_target})
  endforeach()
  if(ARG_RANKS)
    foreach(n IN LISTS ARG_RANKS)
      add_test(NAME ${name}.ranks${n}
        COMMAND ${MPIEXEC_EXECUTABLE} ${DLTRAIN_MPI_FLAGS} -n ${n} $<TARGET_FILE:${name}>)
      set_tests_properties(${name}.ranks${n} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 300
        PROCESSORS 2 ENVIRONMENT "${DLTRAIN_MPI_ENV}" WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
    endforeach()
  else()
    target_link_libraries(${name} PRIVATE GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 300
      WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
  endif()
endfunction()

# How tests start ranks, in one place: more ranks than cores are expected, so ranks yield when idle.
set(DLTRAIN_MPI_FLAGS --oversubscribe --bind-to none)
set(DLTRAIN_MPI_ENV "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_mpi_yield_when_idle=1")
