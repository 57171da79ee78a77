#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The libraries that dltrain is built with, as a folder, for machines without network that have CUDA, CMake, Ninja and
# a C++ compiler but no packages: MPI, HDF5, yaml-cpp, oneDNN, Boost's headers and the others of cmake/setup.sh.
#   cmake/bundle.sh FOLDER           downloads and unpacks to FOLDER, packs FOLDER.tar.xz (under 60 MB)
#   cmake/bundle.sh --packages       prints the packages, without a download
#   cmake/bundle.sh --use FOLDER     writes FOLDER/use.sh and FOLDER/toolchain.cmake again and says how to use them
# Made on Debian 12 (apt-get, dpkg-deb, readelf), as any user; used on x86-64 with glibc 2.36 or newer. The folder may
# be moved. There:   tar xf FOLDER.tar.xz && . FOLDER/use.sh && cmake --preset release && cmake --build --preset release
set -euo pipefail
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
limit_bytes=60000000
lib=lib/x86_64-linux-gnu

# What comes along but is of no use there: the C library, compilers and build tools; what installs packages, users and
# shells; what only Fortran, documentation, graphics and hwloc's plug-ins need.
unwanted='^(libc6|libc-|libcrypt|libnsl|libtirpc|linux-libc|rpcsvc|binutils|libbinutils|gcc-|cpp|gfortran|g\+\+)'
unwanted+='|^(libgcc|libstdc\+\+|libgomp|libatomic|libquadmath|libitm|libcc1|libctf|libgprofng|libisl|libmpc|libmpfr|lib[a-z]+san)'
unwanted+='|^(libjansson|libgfortran|autoconf|automake|autotools|m4$|perl|libperl|googletest$|catch2$)'
unwanted+='|^(dpkg|tar|install-info|debconf|debianutils|adduser|passwd|libpam|libaudit|libsemanage|libsepol|libselinux)'
unwanted+='|^(openssh|libgdbm|libdb5|libacl1|libbz2|libmd0|libpcre2|libtinfo|libreadline|readline|libedit|libbsd|libfido2|libcbor)'
unwanted+='|^(libcap-ng|libhdf5-(hl-)?fortran|libjs-|libx11|libxcb|libxau|libxdmcp|libxext|libxnvctrl|libhwloc-plugins)'
unwanted+='|^(libxml2|libicu|liblzma|libcurl4-openssl-dev|libsasl2-modules)'
# What the C++ compiler of that machine brings along.
given='^(ld-linux-x86-64|lib(c|m|dl|rt|pthread|util|resolv|nsl|anl|gcc_s|stdc\+\+|atomic|gomp|quadmath|mvec))\.so'

fail() { echo "bundle: $*" >&2; exit 70; }

# All packages that apt would put on an empty system.
closure() {
  apt-get --simulate --option Dir::State::status="$work/empty" --no-install-recommends --yes install "$@" |
    sed -n 's/^Inst \([^ ]*\) .*/\1/p' | sort -u
}

packages() {
  local wanted
  mapfile -t wanted < <("$source_dir/cmake/setup.sh" list)
  : >"$work/empty"
  closure "${wanted[@]}" | grep -Ev "$unwanted"
}

# Folders of one name for all, symbolic links that a move does not break, and nothing that building and running do
# not read.
tidy() {
  local root=$1 link target
  if [[ -d $root/lib ]]; then
    cp -a "$root/lib/." "$root/usr/lib/"
    rm -rf "${root:?}/lib"
  fi
  # Only a compiler of Debian looks there by itself.
  cp -a "$root/usr/include/x86_64-linux-gnu/." "$root/usr/include/"
  rm -rf "$root/usr/include/x86_64-linux-gnu"
  rm -rf "$root"/usr/share/{doc,man,locale,lintian,bug,info,doc-base,bash-completion,aclocal,applications} "${root:?}"/{var,usr/sbin,sbin}
  find "$root" -name '*.a' ! -name 'libgtest*' ! -name 'libgmock*' -delete
  find "$root" -name '*.mod' -delete
  rm -f "$root"/usr/bin/h5*  # they name /usr
  while IFS= read -r link; do
    target=$(readlink "$link")
    [[ $target == /* ]] || continue
    target=$root/${target#/}
    [[ $target == "$root"/lib/* ]] && target=$root/usr/${target#"$root"/}
    if [[ -e $target ]]; then ln -sfnr "$target" "$link"; else rm "$link"; fi
  done < <(find "$root" -type l)
  ln -sfnr "$root"/usr/lib/libpsm1/libpsm_infinipath.so.1.* "$root/usr/$lib/libpsm_infinipath.so.1"  # an alternative there
  for link in mpirun mpiexec; do ln -sfn orterun "$root/usr/bin/$link"; done
  for link in mpicc mpicxx; do ln -sfn opal_wrapper "$root/usr/bin/$link"; done
  mkdir -p "$root/hdf5"
  ln -sfn ../usr/include/hdf5/serial "$root/hdf5/include"
  ln -sfn "../usr/$lib/hdf5/serial" "$root/hdf5/lib"
  find "$root" -xtype l -delete
  # Paths in what CMake reads.
  # shellcheck disable=SC2016
  grep -rlI --include='*.cmake' '"/usr/' "$root/usr/lib" "$root/usr/share" |
    xargs -r sed -i 's|"/usr/|"${DLTRAIN_BUNDLE}/usr/|g'
}

# Every library that one of the bundle's needs is in the bundle or comes with a compiler; a plug-in of MPI whose own is
# not there is left out.
check_libraries() {
  local root=$1 file needed problems=0
  find "$root" \( -name '*.so' -o -name '*.so.*' \) -printf '%f\n' | sort -u >"$work/have"
  while IFS= read -r file; do
    while IFS= read -r needed; do
      [[ $needed =~ $given ]] || grep -qxF "$needed" "$work/have" && continue
      if [[ $file == */openmpi3/* || $file == */libfabric/* || $file == */ucx/* || $file == */pmix/* ]]; then
        echo "bundle: without the plug-in ${file##*/}, which needs $needed"
        rm -f "$file"
        break
      fi
      echo "bundle: $needed is missing, which ${file#"$root"/} needs" >&2
      problems=1
    done < <(readelf --dynamic "$file" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  done < <(find "$root" -type f \( -name '*.so' -o -name '*.so.*' \))
  return $problems
}

write_use() {
  local root=$1
  cat >"$root/toolchain.cmake" <<'END'
# SPDX-License-Identifier: Apache-2.0
# Read by CMake through the environment, see use.sh.
get_filename_component(DLTRAIN_BUNDLE "${CMAKE_CURRENT_LIST_DIR}" ABSOLUTE)
list(PREPEND CMAKE_PREFIX_PATH "${DLTRAIN_BUNDLE}/usr")
if(NOT CMAKE_LIBRARY_ARCHITECTURE)
  set(CMAKE_LIBRARY_ARCHITECTURE x86_64-linux-gnu)
endif()
set(HDF5_ROOT "${DLTRAIN_BUNDLE}/hdf5")
set(OPENSSL_ROOT_DIR "${DLTRAIN_BUNDLE}/usr")
set(MPI_C_COMPILER "${DLTRAIN_BUNDLE}/usr/bin/mpicc")
set(MPIEXEC_EXECUTABLE "${DLTRAIN_BUNDLE}/usr/bin/mpirun")
END
  cat >"$root/use.sh" <<'END'
# SPDX-License-Identifier: Apache-2.0
# To be read by a shell (. FOLDER/use.sh) before dltrain is configured, built or started.
bundle=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")" && pwd)
export CMAKE_TOOLCHAIN_FILE=$bundle/toolchain.cmake
export PATH=$bundle/usr/bin:$PATH
bundle_libraries=$bundle/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$bundle_libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# Where Open MPI and PMIx look, which know only the folder they were built for.
export OPAL_PREFIX=$bundle/usr OPAL_BINDIR=$bundle/usr/bin OPAL_SYSCONFDIR=$bundle/etc/openmpi
export OPAL_LIBDIR=$bundle_libraries/openmpi/lib OPAL_INCLUDEDIR=$bundle_libraries/openmpi/include
export OPAL_DATADIR=$bundle/usr/share OPAL_PKGDATADIR=$bundle/usr/share/openmpi
export OMPI_MCA_mca_base_component_path=$bundle_libraries/openmpi/lib/openmpi3
export PMIX_INSTALL_PREFIX=$bundle_libraries/pmix2
export PMIX_MCA_mca_base_component_path=$bundle_libraries/pmix2/lib/pmix
# mpirun wants one of these to be there, also where all ranks are on its own host.
command -v ssh >/dev/null || command -v rsh >/dev/null || export OMPI_MCA_plm_rsh_agent=false
unset bundle bundle_libraries
END
}

how_to() {
  cat <<END
on the machine without network:
  tar xf $(basename "$1").tar.xz
  . $(basename "$1")/use.sh          # CMAKE_TOOLCHAIN_FILE, PATH, LD_LIBRARY_PATH, OPAL_PREFIX; in each shell
  cmake --preset release && cmake --build --preset release --target dltrain dlrun
END
}

make_bundle() {
  local folder=$1 root size
  [[ ! -e $folder ]] || { echo "bundle: $folder is there already" >&2; exit 64; }
  mkdir -p "$work/debs" "$folder"
  root=$(cd "$folder" && pwd)
  mapfile -t names < <(packages)
  echo "bundle: downloading ${#names[@]} packages"
  (cd "$work/debs" && apt-get download "${names[@]}" >"$work/log" 2>&1) || { tail -n 5 "$work/log" >&2; exit 69; }
  for deb in "$work/debs"/*.deb; do dpkg-deb --extract "$deb" "$root"; done
  tidy "$root"
  check_libraries "$root" || fail "libraries are missing: mend the list 'unwanted' in cmake/bundle.sh"
  printf '%s\n' "${names[@]}" >"$root/packages.txt"
  write_use "$root"
  tar --create --owner=0 --group=0 --sort=name --directory "$(dirname "$root")" "$(basename "$root")" |
    xz --threads=0 -6 >"$folder.tar.xz"
  size=$(stat --format=%s "$folder.tar.xz")
  ((size < limit_bytes)) || fail "$folder.tar.xz has $size bytes, expected under $limit_bytes"
  echo "bundle: $folder.tar.xz, $((size / 1000000)) MB; $(du -sm "$root" | cut -f1) MB unpacked"
  how_to "$folder"
}

case "${1:-}" in
  --packages | --use) ;;
  -* | '') sed -n '3,9s/^# \?//p' "${BASH_SOURCE[0]}" >&2; exit 64 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case $1 in
  --use) tools=() ;;
  --packages) tools=(apt-get) ;;
  *) tools=(apt-get dpkg-deb readelf xz) ;;
esac
for tool in "${tools[@]}"; do
  command -v "$tool" >/dev/null || { echo "bundle: $tool is missing; make the bundle on Debian 12" >&2; exit 69; }
done
case $1 in
  --packages) packages ;;
  --use) write_use "$(cd "${2:?--use FOLDER}" && pwd)"; how_to "$2" ;;
  *) make_bundle "$1" ;;
esac
