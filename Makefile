# Two commands are all: `make demo` shows Spoolway at work, `make test` proves it.
# Both install what they need first (scripts/setup.sh), or name it.

CARGO ?= cargo

.PHONY: all setup demo test check bench clean

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

# What a change must pass before the suite.
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# Speed and size, each beside its peer in the same run; takes about ten minutes.
bench:
	scripts/setup.sh --bench
	$(CARGO) bench --locked

clean:
	$(CARGO) clean
