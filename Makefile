# Everything the tests, the demo and the benches need; see scripts/setup.sh.
.PHONY: setup
setup:
	scripts/setup.sh
