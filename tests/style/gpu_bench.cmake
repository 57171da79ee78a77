# SPDX-License-Identifier: Apache-2.0
# cmake -DROOT=<repository> -DWORK=<folder> -P gpu_bench.cmake: bench/gpu.sh without a GPU, its dry run, its JSON.
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}/bin")
set(problems "")
function(expect what got wanted)
  if(NOT got STREQUAL wanted)
    set(problems "${problems}${what}: expected '${wanted}', got '${got}'\n" PARENT_SCOPE)
  endif()
endfunction()

# A driver that has no GPU.
file(WRITE "${WORK}/bin/nvidia-smi" "#!/bin/sh\necho 'No devices were found'; exit 6\n")
file(CHMOD "${WORK}/bin/nvidia-smi" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
set(ENV{PATH} "${WORK}/bin:$ENV{PATH}")
execute_process(COMMAND "${ROOT}/bench/gpu.sh" --out "${WORK}/none.json" RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE err)
expect("gpu.sh without a GPU: exit" "${code}" 69)
if(NOT err MATCHES "no GPU here" OR EXISTS "${WORK}/none.json")
  string(APPEND problems "gpu.sh without a GPU: expected 'no GPU here' and no JSON, got '${err}'\n")
endif()

execute_process(COMMAND "${ROOT}/bench/gpu.sh" --dry-run --out "${WORK}/dry.json" RESULT_VARIABLE code OUTPUT_VARIABLE out)
expect("gpu.sh --dry-run: exit" "${code}" 0)
file(READ "${WORK}/dry.json" json)
string(JSON count LENGTH "${json}" steps)
foreach(i RANGE 1 ${count})
  math(EXPR i "${i} - 1")
  string(JSON name GET "${json}" steps ${i} name)
  string(JSON command GET "${json}" steps ${i} command)
  string(JSON type TYPE "${json}" steps ${i} exit)
  expect("${name}: exit of a dry run" "${type}" NULL)
  if(NOT out MATCHES "${name}: ")
    string(APPEND problems "gpu.sh --dry-run does not print ${name}\n")
  endif()
  # Every file of the repository that a command names is there.
  string(REGEX MATCHALL "bench/gpu/[a-z0-9_.-]+" paths "${command}")
  foreach(path IN LISTS paths)
    if(NOT EXISTS "${ROOT}/${path}")
      string(APPEND problems "${name}: no file ${path}\n")
    endif()
  endforeach()
endforeach()

# Commands that end well, print JSON, print what JSON must escape, fail, take too long, come too late.
file(WRITE "${WORK}/steps.sh" [=[
source "$1/bench/gpu/record.sh"
record_begin "$2/steps.json" 60 0
step json 10 printf 'words first\n{"step_ms": {"median": 1.25,\n "p95": 2}}\n'
step odd 10 printf '%s' $'a"b\\c\td\ne'
step fails 10 sh -c 'echo "reason" >&2; exit 3'
step slow 1 sleep 20
record_end_s=$SECONDS
step late 10 true
record_end gpus $'NVIDIA "X"\\Y\nsecond' value "$(value json median)" missing "$(value none median)" failed "$record_failed"
]=])
execute_process(COMMAND bash "${WORK}/steps.sh" "${ROOT}" "${WORK}" RESULT_VARIABLE code OUTPUT_VARIABLE out)
expect("record.sh: exit" "${code}" 0)
file(READ "${WORK}/steps.json" json)
function(expect_json wanted)
  string(JSON got ERROR_VARIABLE error GET "${json}" ${ARGN})
  expect("${ARGN}" "${got}" "${wanted}")
  set(problems "${problems}" PARENT_SCOPE)
endfunction()
expect_json("NVIDIA \"X\"\\Y\nsecond" gpus)
expect_json(1.25 value)
expect_json("" missing)
expect_json(1 failed)
expect_json(2 steps 0 result step_ms p95)
expect_json("printf %s a\"b\\c\td\ne" steps 1 command)
expect_json(0 steps 1 exit)
expect_json(3 steps 2 exit)
expect_json(124 steps 3 exit)
expect_json("no time is left" steps 4 why_not)
string(JSON type TYPE "${json}" steps 4 exit)
expect("exit of what came too late" "${type}" NULL)

if(problems)
  message(NOTICE "${problems}")
  message(FATAL_ERROR "bench/gpu.sh does not do what it says")
endif()
message(STATUS "bench/gpu.sh: ${count} commands in a dry run")
