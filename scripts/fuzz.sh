#!/bin/sh
# Runs every fuzz target for a while: scripts/fuzz.sh [SECONDS [TARGET...]], 60 s by default.
#
# libFuzzer needs coverage counters in the code, which stable rustc makes through LLVM's own
# pass, so neither nightly nor cargo-fuzz is needed; `cargo +nightly fuzz run TARGET` works on
# the same folder. What is found in a run stays in fuzz/corpus, a crash in fuzz/artifacts.
set -eu

cd "$(dirname "$0")/../fuzz"
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- trigger template json block marks framing answer settings file

host=$(rustc -vV | sed -n 's/^host: //p')
pass=-Cllvm-args=-sanitizer-coverage
# With --target the flags do not reach build scripts.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module $pass-level=4 $pass-inline-8bit-counters \
$pass-pc-table $pass-trace-compares" cargo build --release --target "$host"

for target in "$@"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    log=artifacts/$target.log
    if ! "${CARGO_TARGET_DIR:-target}/$host/release/$target" "corpus/$target" "seeds/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="artifacts/$target/" >"$log" 2>&1; then
        tail -n 40 "$log"
        echo "$target: failed; the input is in fuzz/artifacts/$target" >&2
        exit 1
    fi
    echo "$target: $(sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\).*/\1 runs in \2 s/p' "$log")"
done
