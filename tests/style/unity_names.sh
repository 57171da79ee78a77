#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# unity_names.sh ROOT: files of a folder are compiled several at once (cmake/targets.cmake), so what one has in an anonymous
# namespace must be the only one of its name among them and their headers: a call could quietly reach another file's.
set -euo pipefail
cd "$1"

bad=0
for folder in src/* src/backend/* launcher; do
  [[ -f $folder/CMakeLists.txt && $folder != src ]] || continue
  mapfile -t files < <(find "$folder" -name '*.cpp' -o -name '*.cu' -o -name '*.h' | sort)
  # clang-format has it that what a namespace defines begins in the first column.
  awk '
    function add(name,    key) {
      key = space "::" name
      if (!hidden) { if (FILENAME ~ /\.h$/) header[key] = FILENAME }
      else if (!((FILENAME, key) in own)) { own[FILENAME, key]; files[key] = files[key] " " FILENAME; ++count[key] }
    }
    FNR == 1 { space = ""; hidden = 0 }
    /^namespace \{/ { hidden = 1; next }
    /^}  \/\/ namespace$/ { hidden = 0; next }
    /^namespace / { space = $2; next }
    /^(using|template|static_assert|extern|friend|typedef|DLT_)/ { next }
    /^[A-Za-z_\[]/ {
      gsub(/(__launch_bounds__|alignas)\([^)]*\) ?|\[\[[^\]]*\]\] /, "")
      if (sub(/^(struct|class|enum class|enum) /, "")) {
        if (!/;$/ && match($0, /^[A-Za-z_0-9]+/)) add(substr($0, 1, RLENGTH))
      } else if (match($0, /[ *&][A-Za-z_0-9]+( = |[(\[{])/)) {
        name = substr($0, RSTART + 1, RLENGTH - 1)
        rest = substr($0, RSTART + RLENGTH)
        sub(/[^A-Za-z_0-9].*/, "", name)
        add(name)
        while ($1 == "constexpr" && match(rest, /, k[A-Za-z_0-9]+( =|\{)/)) {
          name = substr(rest, RSTART + 2, RLENGTH - 2)
          rest = substr(rest, RSTART + RLENGTH)
          sub(/[^A-Za-z_0-9].*/, "", name)
          add(name)
        }
      }
    }
    END {
      for (key in count) {
        ++total
        if (key ~ /DLT_ISA/) continue  # compiled alone
        if (count[key] == 1 && !(key in header)) continue
        print key ":" files[key] " " header[key]
        bad = 1
      }
      if (FILENAME ~ /^src\/ops\// && total < 100) { print "src/ops: no longer read by this test"; bad = 1 }
      exit bad
    }' "${files[@]}" || bad=1
done
exit "$bad"
