#!/bin/sh
# Builds the static binary of TARGET, with the notices of its crates (THIRD-PARTY.txt) beside
# it, and says its size. Fails above LIMIT bytes.
#
# usage: scripts/static.sh TARGET LIMIT
# TARGET is x86_64-unknown-linux-musl or aarch64-unknown-linux-musl.
set -eu

target=$1
limit=$2
cd "$(dirname "$0")/.."
binary=target/$target/static/spoolway

fail() {
    echo "static: $*" >&2
    exit 1
}

# Compiles the C code, for either machine.
command -v cargo-zigbuild >/dev/null ||
    fail "needs cargo-zigbuild and zig: pip install cargo-zigbuild ziglang"
musl=$(rustc --print target-libdir --target "$target")/self-contained/libc.a
[ -f "$musl" ] || fail "needs Rust's part for $target: rustup target add $target"
# Older ones do not read the packed relocations that are asked for below.
grep -aqE '1\.2\.([4-9]|[1-9][0-9])' "$musl" ||
    fail "needs a Rust whose musl is 1.2.4 or newer (1.95 has it): rustup update"
# The linker of zig folds no code. rustup's Rust has this one, a distribution's may not.
host=$(rustc -vV | sed -n 's/^host: //p')
[ -x "$(rustc --print sysroot)/lib/rustlib/$host/bin/rust-lld" ] ||
    fail "needs rust-lld, which comes with rustup's toolchains: https://rustup.rs"

# C code: never unwound, so no tables for it; zstd in one version for all processors, and with
# its smaller way to unpack, which is for old spool blocks and the position topic only.
c="-fno-asynchronous-unwind-tables -fno-unwind-tables -DDYNAMIC_BMI2=0"
c="$c -DHUF_FORCE_DECOMPRESS_X1=1 -DZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT=1"
export "CFLAGS_$(echo "$target" | tr - _)=$c"
# Frame pointers make the unwind tables a third smaller than they make the code larger; paths
# of the building host are nobody's business.
export RUSTFLAGS="-Cforce-frame-pointers=yes \
--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src/="
# Equal functions become one, and relocations a bit each.
cargo-zigbuild rustc --profile static --locked --bin spoolway --target "$target" -- \
    -Clinker=rust-lld -Clink-arg=--icf=all -Clink-arg=--pack-dyn-relocs=relr

if [ "${target%%-*}" = "$(uname -m)" ]; then
    "$binary" --version >/dev/null || fail "$binary does not start"
fi
cp target/assets/THIRD-PARTY.txt "${binary%/*}/" || fail "needs the notices: make assets"
size=$(wc -c <"$binary")
echo "$binary: $size bytes"
[ "$size" -le "$limit" ] || fail "more than STATIC_BYTES_MAX=$limit"
