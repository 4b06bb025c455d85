#!/bin/sh
# The demo with the static binary of TARGET: `--version`, `check`, then events from the socket
# through the spool, over an outage, into a real Kafka. Needs the binary to be built.
#
# usage: scripts/test-static.sh TARGET
# A binary for another machine runs under qemu (Debian's qemu-user-static).
set -eu

target=$1
cd "$(dirname "$0")/.."
binary=$PWD/target/$target/static/spoolway
machine=${target%%-*}
runner=

if [ "$machine" != "$(uname -m)" ]; then
    qemu=$(command -v "qemu-$machine-static") || {
        echo "test-static: needs qemu-$machine-static: apt-get install qemu-user-static" >&2
        exit 1
    }
    runner=$(mktemp)
    trap 'rm -f "$runner"' EXIT
    # The demo runs one program.
    printf '#!/bin/sh\nexec %s %s "$@"\n' "$qemu" "$binary" >"$runner"
    chmod 755 "$runner"
    binary=$runner
fi

"$binary" --version
"$binary" check --without-files packaging/spoolway.toml
cargo run --locked --quiet -p spoolway-test-support --bin demo -- \
    "$binary" packaging/spoolway.toml
