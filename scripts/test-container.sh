#!/bin/sh
# The demo with the daemon and its commands in containers: events from a socket on a mounted
# folder through a spool on it, over an outage, into a real Kafka. As its own user, without
# capabilities, on a root that is read-only. Needs the image: `make container`.
#
# usage: scripts/test-container.sh
# ENGINE is podman or docker, with options of its own; RUN has more options of `run`. In a
# sandbox without a manager of cgroups: ENGINE='podman --cgroup-manager cgroupfs --runtime runc'
# RUN='--ulimit nofile=1024:4096 --ulimit nproc=1000:1000'.
set -eu

engine=${ENGINE:-podman}
cd "$(dirname "$0")/.."
runner=$(mktemp)
trap 'rm -f "$runner"' EXIT
# The demo runs one program, with the configuration as its last argument. What is beside the
# configuration is mounted, and belongs to the user of the image.
cat >"$runner" <<RUNNER
#!/bin/sh
for config; do :; done
folder=\$(dirname "\$config")
ca=\$(sed -n 's/^ssl.ca.location = "\(.*\)"/\1/p' "\$config")
[ "\$ca" = "\$folder/ca.pem" ] || cp "\$ca" "\$folder/ca.pem"
sed -i "s|^ssl.ca.location = .*|ssl.ca.location = \"\$folder/ca.pem\"|" "\$config"
chown -R 10001:10001 "\$folder"
exec $engine run --rm --network host --read-only --cap-drop all \\
    --security-opt no-new-privileges --stop-timeout 30 ${RUN:-} \\
    --volume "\$folder:\$folder" spoolway "\$@"
RUNNER
chmod 755 "$runner"
cargo run --locked --quiet -p spoolway-test-support --bin demo -- \
    "$runner" packaging/spoolway.toml
