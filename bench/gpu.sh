#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds, tests and measures on a machine with a GPU in one go, in ten minutes at most.
#   bench/gpu.sh [--bundle FOLDER] [--build FOLDER] [--out FILE] [--python PYTHON] [--seconds N] [--dry-run]
# --bundle    made by cmake/bundle.sh, for machines without the libraries' packages
# --build     build/gpu; --out: build/gpu.json, the numbers with their commands; beside it a folder of logs
# --python    one with torch and CUDA, python3 if it has them: the same models in PyTorch are measured in the same run
# --seconds   600, all together: what does not fit is left out and says so
# --dry-run   prints the commands; needs no GPU
# Ends with the table of docs/performance.md. Exit 69: no GPU; 70: something failed, see the logs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source bench/gpu/record.sh

bundle='' build=build/gpu out=build/gpu.json python=python3 budget_s=600 dry_run=0
usage() { sed -n '4,10s/^# \?//p' bench/gpu.sh >&2; exit 64; }
while (($# > 0)); do
  case $1 in
    --dry-run) dry_run=1; shift; continue ;;
    --bundle | --build | --out | --python | --seconds) (($# > 1)) || usage ;;
    *) usage ;;
  esac
  case $1 in
    --bundle) bundle=$2 ;;
    --build) build=$2 ;;
    --out) out=$2 ;;
    --python) python=$2 ;;
    --seconds) budget_s=$2 ;;
  esac
  shift 2
done

num_gpus=0 architecture=90 driver=''
if ((dry_run == 0)); then
  # The driver's own list, "NVIDIA H200, 9.0, 580.95, 143771 MiB" a line.
  gpus=$(nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total --format=csv,noheader 2>/dev/null) || gpus=
  if [[ -z $gpus ]]; then
    echo "gpu.sh: no GPU here: nvidia-smi is missing or lists none. Nothing was measured; --dry-run prints what would be run" >&2
    exit 69
  fi
  num_gpus=$(wc -l <<<"$gpus")
  capability=$(head -n 1 <<<"$gpus" | cut -d, -f2 | tr -d ' .')
  architecture=${capability:-90}
  driver=$(head -n 1 <<<"$gpus" | cut -d, -f3 | tr -d ' ')
else
  gpus="a dry run: no GPU was looked for"
  num_gpus=8
fi
if [[ -n $bundle ]]; then
  # shellcheck disable=SC1091
  source "$bundle/use.sh"
fi
# Where the toolkit is by default: nvcc, compute-sanitizer.
[[ ! -d /usr/local/cuda/bin ]] || export PATH=$PATH:/usr/local/cuda/bin
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
record_begin "$out" "$budget_s" "$dry_run"

build_all() {
  local targets=(dltrain dltrain_cuda bench_gpu_update)
  step configure 60 cmake --preset release -B "$build" -DDLTRAIN_CUDA=ON -DDLTRAIN_CUDA_ARCHITECTURES="$architecture-real" \
    -DDLTRAIN_TESTS=ON -DDLTRAIN_WERROR=OFF
  ((last_exit == 0)) || return 1
  # The plug-in library for NCCL, and every test of a real GPU: a test has its target's name.
  if ((dry_run == 0)); then
    if [[ $(cmake --build "$build" --target help) == *dltrain_nccl:* ]]; then targets+=(dltrain_nccl); fi
    while IFS= read -r test; do targets+=("$test"); done < <(ctest --test-dir "$build" -N -L '^gpu$' |
      sed -n 's/^ *Test *#[0-9]*: \([^.]*\).*/\1/p' | sort -u)
  else
    targets+=(cuda_conformance_gpu_test)
  fi
  step build 360 cmake --build "$build" --parallel --target "${targets[@]}"
  return "$last_exit"
}

test_all() {
  step info 20 "$build/dltrain" info
  step ctest 120 ctest --test-dir "$build" -L '^gpu$' --output-on-failure --no-tests=error
}

sanitize() {
  local tool checked=("$build/cuda_conformance_gpu_test" --gtest_brief=1 "--gtest_filter=CudaKernels.Agree*")
  for tool in memcheck racecheck; do
    if ((dry_run == 0)) && ! command -v compute-sanitizer >/dev/null; then
      skip "$tool" "compute-sanitizer is not on PATH"
    else
      step "$tool" 60 compute-sanitizer --tool "$tool" --error-exitcode 9 "${checked[@]}"
    fi
  done
}

measure_dltrain() {
  local bench=("$build/dltrain" bench)
  step gpt2-124m 60 "${bench[@]}" bench/gpu/gpt2-124m.yaml --steps 30 --warmup 5
  step resnet50 60 "${bench[@]}" bench/gpu/resnet50.yaml --steps 30 --warmup 5
  step mnist-mlp 30 "${bench[@]}" bench/gpu/mnist-mlp.yaml --steps 2000 --warmup 200
  step char-lstm 30 "${bench[@]}" bench/gpu/char-lstm.yaml --steps 300 --warmup 30
  step update 30 "$build/bench_gpu_update"
}

measure_pytorch() {
  if ((dry_run == 0)) && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    skip pytorch "$python has no PyTorch that sees a GPU"
    return
  fi
  local model mode steps
  for mode in eager compile; do
    for model in gpt2-124m resnet50 mnist-mlp char-lstm; do
      steps=30
      [[ $model != mnist-mlp ]] || steps=1000
      [[ $model != char-lstm ]] || steps=200
      step "pytorch-$model-$mode" 100 "$python" bench/gpu/compare_pytorch.py "$model" --mode "$mode" --steps "$steps"
    done
  done
}

# Weak scaling: each rank keeps its GPU's batch.
measure_ranks() {
  local ranks
  for ranks in 2 4 8; do
    ((ranks <= num_gpus)) || break
    step "gpt2-124m-$ranks" 60 mpirun -n "$ranks" --bind-to none "$build/dltrain" bench bench/gpu/gpt2-124m.yaml \
      --set data.global_batch_size=$((32 * ranks)) --set train.leaves="$ranks" --steps 30 --warmup 5
    step "resnet50-$ranks" 60 mpirun -n "$ranks" --bind-to none "$build/dltrain" bench bench/gpu/resnet50.yaml \
      --set data.global_batch_size=$((256 * ranks)) --set train.leaves="$ranks" --steps 30 --warmup 5
  done
}

# Where a number is missing the table has a dash.
table() {
  local peak_gflops=989000 model floor least ms goal eager compiled share
  echo
  echo "| model | floor, ms a step | measured | MFU | PyTorch eager | torch.compile | goal |"
  echo "|---|---|---|---|---|---|---|"
  while IFS= read -r floor; do
    [[ $floor =~ \"model\":\ \"([^\"]*)\".*\"floor_ms\":\ ([0-9.]+) ]]
    model=${BASH_REMATCH[1]} least=${BASH_REMATCH[2]}
    ms=$(value "$model" median)
    eager=$(value "pytorch-$model-eager" step_ms)
    compiled=$(value "pytorch-$model-compile" step_ms)
    share=$(value "$model" gflops_per_s)
    case $model in
      gpt2-124m) goal="MFU 55 %, 1.1 × torch.compile" ;;
      resnet50) goal="1.1 × torch.compile, channels_last" ;;
      *) goal="3 × eager" share='' ;;
    esac
    awk -v model="$model" -v floor="$least" -v ms="$ms" -v eager="$eager" \
      -v compiled="$compiled" -v share="$share" -v peak="$peak_gflops" -v goal="$goal" '
      function cell(t) { return t == "" ? "–" : ms == "" ? sprintf("%.3f", t) : sprintf("%.3f (%.2f ×)", t, t / ms) }
      BEGIN {
        printf "| %s | %.3f | %s | %s | %s | %s | %s |\n", model, floor, ms == "" ? "–" : sprintf("%.3f", ms),
          share == "" ? "–" : sprintf("%.1f %%", share / peak * 100), cell(eager), cell(compiled), goal
      }'
  done < <(bench/gpu/floor.sh "$build/dltrain")
  echo "| update of adam, share of a copy's bandwidth | 1 | $(value update share_of_copy) | – | – | – | 0.85 |"
  local ranks one many
  for model in gpt2-124m resnet50; do
    one=$(value "$model" samples_per_s)
    for ranks in 2 4 8; do
      many=$(value "$model-$ranks" samples_per_s)
      [[ -z $one || -z $many ]] ||
        awk -v m="$model" -v n="$ranks" -v a="$one" -v b="$many" 'BEGIN { printf "%s on %d GPUs: %.1f samples/s, %.1f %% of %d times one\n", m, n, b, b / a / n * 100, n }'
    done
  done
}

if build_all; then
  test_all
  measure_dltrain
  sanitize
  measure_pytorch
  measure_ranks
fi
record_end date "$(date --utc +%FT%TZ)" gpus "$gpus" driver "$driver" \
  commit "$(git rev-parse HEAD 2>/dev/null || echo unknown)" host_cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
  nvcc "$(nvcc --version 2>/dev/null | tail -n 1)" compiler "$(c++ --version 2>/dev/null | head -n 1)" \
  versions "$([[ -e $record_logs/info.out ]] && cat "$record_logs/info.out")"
((dry_run == 1)) || [[ ! -x $build/dltrain ]] || table
echo "gpu.sh: $out; what the commands printed is in $record_logs/"
((record_failed == 0)) || { echo "gpu.sh: something failed" >&2; exit 70; }
