#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing: cmake/setup.sh run|test. When all are there it
# neither calls apt nor needs the network. cmake/setup.sh list prints the libraries, one a line; cmake/bundle.sh
# reads them there.
set -euo pipefail

tools=(g++ cmake ninja-build)
libraries=(libopenmpi-dev openmpi-bin libhdf5-dev libyaml-cpp-dev
  libboost-dev libdnnl-dev libspdlog-dev libfmt-dev libcli11-dev libssl-dev libxxhash-dev
  nlohmann-json3-dev zlib1g-dev libpng-dev libjpeg62-turbo-dev)
test_libraries=(libgtest-dev libgmock-dev)
test_tools=(libbenchmark-dev clang-format-14 mpich libmpich-dev)

packages=("${tools[@]}" "${libraries[@]}")
case "${1:-}" in
  run) ;;
  test) packages+=("${test_libraries[@]}" "${test_tools[@]}") ;;
  list) printf '%s\n' "${libraries[@]}" "${test_libraries[@]}"; exit 0 ;;
  *) echo "usage: cmake/setup.sh run|test|list" >&2; exit 64 ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup: this is not Debian 12 or a relative of it: install what cmake/deps.cmake looks for," >&2
  echo "       then cmake --preset release && cmake --build --preset release" >&2
  exit 69
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || status=
  [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "setup: all packages are there"
  exit 0
fi

noun=packages
((${#missing[@]} == 1)) && noun=package
as_root=(env)
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "setup: ${#missing[@]} $noun missing, and there is no sudo. As root:" >&2
    echo "       apt-get install ${missing[*]}" >&2
    exit 77
  fi
  as_root=(sudo env)
fi

log_dir="$(cd "$(dirname "$0")/.." && pwd)/build"
mkdir -p "$log_dir"
log="$log_dir/setup.log"
: >"$log"
apt() {
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" \
    >>"$log" 2>&1 </dev/null
}

echo "setup: installing ${#missing[@]} $noun: ${missing[*]}"
((EUID == 0)) || sudo -v  # asks for the password here, not into the log
# The package lists may be absent or too old: only then are they fetched.
if ! apt install --yes --no-install-recommends "${missing[@]}"; then
  echo "setup: fetching the package lists, then once more"
  if ! apt update || ! apt install --yes --no-install-recommends "${missing[@]}"; then
    tail -n 15 "$log" >&2
    echo "setup: failed; the whole output of apt-get is in $log" >&2
    exit 69
  fi
fi
echo "setup: done"
