# Two commands are all: `make demo` shows Spoolway at work, `make test` proves it.
# Both install what they need first (scripts/setup.sh), or name it.

CARGO ?= cargo

# The tools that the package targets need are named in CONTRIBUTING.md.
TARGET ?= x86_64-unknown-linux-musl

.PHONY: all setup demo test fuzz check bench assets reference deb rpm static test-static container \
	test-container test-package deny clean

all:
	$(CARGO) build --release --locked

# System packages and the Apache Kafka jars.
setup:
	scripts/setup.sh

demo: setup
	$(CARGO) build --locked
	$(CARGO) run --locked --quiet -p spoolway-test-support --bin demo -- \
		target/debug/spoolway packaging/spoolway.toml

# The whole suite, against a real Kafka. Root adds the tests that mount file systems.
test: setup
	$(CARGO) test --locked --workspace

# Every fuzz target in turn, SECONDS each; `make fuzz SECONDS=3600`.
SECONDS ?= 60
fuzz:
	scripts/fuzz.sh $(SECONDS)

# What a change must pass before the suite.
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# Speed and size, each beside its peer in the same run; takes about ten minutes.
bench:
	scripts/setup.sh --bench
	$(CARGO) bench --locked

# What a package holds besides the binary: man pages, completions, JSON schema, notices.
assets:
	$(CARGO) run --locked --quiet -p spoolway-assets -- target/assets

# The tables of the configuration reference, from the one table of keys.
reference:
	$(CARGO) run --locked --quiet -p spoolway-assets -- --reference docs/configuration.md

deb: all assets
	$(CARGO) deb --no-build --locked

rpm: all assets
	$(CARGO) generate-rpm

# One file without a library, with the notices of its crates beside it.
# TARGET=aarch64-unknown-linux-musl for the other machine.
STATIC_BYTES_MAX ?= 6450000
static: assets
	scripts/static.sh $(TARGET) $(STATIC_BYTES_MAX)

# The static binary through the demo's outage, with a real Kafka; another machine's under qemu.
test-static: setup static
	scripts/test-static.sh $(TARGET)

# An image of one file, by podman, docker or buildah.
container: static
	scripts/container.sh $(TARGET)

# The image through the demo's outage, with a real Kafka, by podman or docker.
test-container: setup container
	scripts/test-container.sh

# The .deb and the .rpm in a fresh Debian 12 that boots; as root, takes some minutes.
# SPOOLWAY_OLD_DEB=PATH adds the upgrade from an older package, and the way back.
test-package: deb rpm
	scripts/setup.sh --package
	lintian --fail-on error,warning target/debian/spoolway_*.deb
	SPOOLWAY_DEB=$$(ls -t target/debian/spoolway_*.deb | head -n 1) \
	SPOOLWAY_RPM=$$(ls -t target/generate-rpm/spoolway-*.rpm | head -n 1) \
		$(CARGO) test --locked --test package -- --nocapture --test-threads 1

# Licences, advisories and sources of the dependencies.
deny:
	$(CARGO) deny check

clean:
	$(CARGO) clean
