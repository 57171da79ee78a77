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

# A machine with two GPUs, all of whose programs are played by scripts; racecheck finds something.
function(script name text)
  file(WRITE "${WORK}/${name}" "#!/bin/bash\n${text}\n")
  file(CHMOD "${WORK}/${name}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endfunction()
script(bin/nvidia-smi "printf 'NVIDIA H200, 9.0, 580.95, 143771 MiB\\n%.0s' 1 2")
script(bin/cmake "echo 'dltrain_nccl: phony'")
script(bin/ctest "echo '  Test #1: cuda_conformance_gpu_test'")
script(bin/mpirun "shift 4; exec \"$@\"")
script(bin/compute-sanitizer "[[ $2 == memcheck ]]")
script(bin/python3 "[[ $1 == -c ]] || echo '{\"step_ms\": 6.0}'")
script(build/bench_gpu_update "echo '{\"share_of_copy\": 0.91}'")
script(build/dltrain "case \"$*\" in
  info*) echo 'gpu        0: NVIDIA H200' ;;
  plan*) printf '{\"leaf_flops\": 989000000000000,\\n\"leaf_kernels\": 5,\\n\"update_bytes\": 4800000000,\\n\"global_batch_size\": 8\\n}\\n' ;;
  *leaves=2*) printf '{\"samples_per_s\": 36.0,\\n\"step_ms\": {\\n\"median\": 5.0}}\\n' ;;
  *) printf '{\"samples_per_s\": 20.0,\\n\"step_ms\": {\\n\"median\": 4.0},\\n\"gflops_per_s\": 494500.0}\\n' ;;
esac")
execute_process(COMMAND "${ROOT}/bench/gpu.sh" --build "${WORK}/build" --out "${WORK}/all.json" RESULT_VARIABLE code OUTPUT_VARIABLE out
  ERROR_VARIABLE err)
expect("gpu.sh where racecheck fails: exit" "${code}" 70)
foreach(line IN ITEMS
    "| gpt2-124m | 1001.000 | 4.000 | 50.0 % | 6.000 (1.50 ×) | 6.000 (1.50 ×) |"
    "| update of adam, share of a copy's bandwidth | 1 | 0.91 |"
    "gpt2-124m on 2 GPUs: 36.0 samples/s, 90.0 % of 2 times one")
  string(FIND "${out}" "${line}" at)
  if(at LESS 0)
    string(APPEND problems "gpu.sh: expected '${line}' in '${out}' ${err}\n")
  endif()
endforeach()
file(READ "${WORK}/all.json" json)
expect_json("580.95" driver)
string(JSON count LENGTH "${json}" steps)
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  string(JSON name GET "${json}" steps ${i} name)
  string(JSON code GET "${json}" steps ${i} exit)
  if(name STREQUAL "racecheck")
    expect("exit of ${name}" "${code}" 1)
  else()
    expect("exit of ${name}" "${code}" 0)
  endif()
endforeach()
expect("commands with two GPUs" "${count}" 21)
string(JSON command GET "${json}" steps 1 command)
if(NOT command MATCHES "bench_gpu_update dltrain_nccl cuda_conformance_gpu_test$")
  string(APPEND problems "gpu.sh: builds '${command}', expected the library for NCCL and the tests of a real GPU, too\n")
endif()

if(problems)
  message(NOTICE "${problems}")
  message(FATAL_ERROR "bench/gpu.sh does not do what it says")
endif()
message(STATUS "bench/gpu.sh does what it says")
