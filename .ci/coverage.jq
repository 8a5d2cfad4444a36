# Extracts the lines with a region that was never entered, and the conditions that were never true or never false, from
# llvm-cov's export, as FILE:FIRST-LAST:WHAT. A function counts once, even if it exists for several types or in several
# binaries.
def merged(key): group_by(key)[] | select(map(.count) | add == 0) | first;

[.data[0].functions[] | .filenames as $files
  | (.regions[] | select(.[7] == 0) | { file: $files[.[5]], at: .[0:2], end: .[2:4], count: .[4], what: "never entered" }),
    (.branches[] | { file: $files[.[6]], at: .[0:2], end: .[2:4], count: .[4], what: "never true" },
                   { file: $files[.[6]], at: .[0:2], end: .[2:4], count: .[5], what: "never false" })
  | .file |= ltrimstr($root) | select(.file | test($pattern))]
| [merged([.file, .at, .end, .what])] | group_by(.file)[] | .[0].file as $file
# Conditions inside a region that was never entered are omitted, and neighbouring regions share one line.
| (map(select(.what == "never entered")) | sort_by(.at)
  | reduce .[] as $it ([]; if length > 0 and $it.at[0] <= .[-1].last + 1
      then .[-1].last = ([.[-1].last, $it.end[0]] | max) else . + [{ first: $it.at[0], last: $it.end[0] }] end)) as $missed
| ($missed | map(. + { what: "never entered" }))
  + (map(select(.what != "never entered") | { first: .at[0], last: .end[0], what })
    | map(select(. as $it | $missed | any(.first <= $it.first and $it.last <= .last) | not)))
| sort_by(.first)[] | "\($file):\(.first)-\(.last):\(.what)"
