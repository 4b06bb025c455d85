#!/bin/sh
# Builds the container image `spoolway` around the static binary of TARGET, which has to be
# built; with buildah the program is also run in it.
#
# usage: scripts/container.sh TARGET
# ENGINE names podman, docker or buildah; the first of them that answers by default: a docker
# without its daemon does not. As root without namespaces: BUILDAH_ISOLATION=chroot
# STORAGE_DRIVER=vfs.
set -eu

target=$1
cd "$(dirname "$0")/.."
for engine in ${ENGINE:-podman docker buildah}; do
    "$engine" info >/dev/null 2>&1 && break
    engine=
done
[ -n "$engine" ] || {
    echo "container: needs podman, docker or buildah that runs here: apt-get install buildah" >&2
    exit 1
}

context=target/container
rm -rf "$context"
mkdir -p "$context/empty"
cp "target/$target/static/spoolway" "target/$target/static/THIRD-PARTY.txt" \
    packaging/spoolway.toml LICENSE-MIT LICENSE-APACHE "$context"
"$engine" build --file packaging/Containerfile --tag spoolway "$context"
[ "$engine" = buildah ] || exit 0

container=$(buildah from spoolway)
trap 'buildah rm "$container" >/dev/null' EXIT
buildah run "$container" /spoolway --version
buildah run "$container" /spoolway check
