#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts.sh ROOT: every script is valid bash; the libraries are named once, in cmake/setup.sh: what cmake/deps.cmake
# tells people to install is there, and cmake/bundle.sh takes it from there, whole.
set -euo pipefail
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
problems=0
problem() { echo "$*" >&2; problems=1; }

while IFS= read -r script; do
  bash -n "$script" || problem "$script: not valid bash"
done < <(printf '%s\n' run test .ci/run; find bench cmake tests -name '*.sh')

cmake/setup.sh list | sort >"$work/list"
known_elsewhere='^(libc6-dev|libgomp1|libbenchmark-dev)$'  # with the compiler; with DLTRAIN_BENCH
sed -nE 's/^ *dltrain_need\([^ ]+ ([^ )]+).*/\1/p; s/.*apt-get install ([a-z0-9.+-]+)".*/\1/p' cmake/deps.cmake |
  sort -u >"$work/needed"
(($(wc -l <"$work/needed") >= 15)) || problem "cmake/deps.cmake: no longer read by this test"
while IFS= read -r package; do
  grep -qxF -- "$package" "$work/list" || [[ $package =~ $known_elsewhere ]] ||
    problem "cmake/deps.cmake: $package is not in 'cmake/setup.sh list'"
done <"$work/needed"

# An apt-get that would install just what it is told to, and some of what comes along.
cat >"$work/apt-get" <<'END'
#!/usr/bin/env bash
printf 'Inst %s (1.0 Debian:12 [amd64])\n' libc6 gcc-12 libgfortran5 libhdf5-103-1 $(printf '%s\n' "$@" | sed '1,/^install$/d')
END
chmod +x "$work/apt-get"
PATH="$work:$PATH" cmake/bundle.sh --packages >"$work/bundled" || problem "cmake/bundle.sh --packages: failed"
{ cat "$work/list"; echo libhdf5-103-1; } | sort | diff - "$work/bundled" >&2 ||
  problem "cmake/bundle.sh: expected the libraries of cmake/setup.sh and what they need, without compilers (above: < expected, > got)"
exit $problems
