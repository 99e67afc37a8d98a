# make demo   sets up and runs the demonstration
# make test   sets up and runs every check
# make fuzz   fuzzes the runtime for SECONDS, an hour if they are not given
# make clean  removes what these made
#
# Set-up is a virtual environment in .venv, and, on Debian and its descendants, the compilers and emulators
# from the distribution's packages (with sudo where that is needed).

PYTHON ?= python3
WORKERS ?= 2
SECONDS ?= 3600

PROGRAMS := make cc c++ clang cmake arm-none-eabi-gcc riscv64-unknown-elf-gcc qemu-system-arm qemu-system-riscv32 \
	avr-gcc arduino-builder avrdude simavr qemu-system-avr \
	spin cppcheck clang-tidy
PACKAGES := make gcc g++ libc6-dev clang cmake gcc-arm-none-eabi libnewlib-arm-none-eabi gcc-riscv64-unknown-elf \
	picolibc-riscv64-unknown-elf qemu-system-arm qemu-system-misc gcc-avr avr-libc arduino-builder arduino-core-avr \
	avrdude simavr libsimavr-dev spin cppcheck clang-tidy python3-venv
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
BIN := .venv/bin

.PHONY: demo test fuzz check-programs clean
demo: .venv/demo
	$(BIN)/python examples/digits/demo.py

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n $(WORKERS)

fuzz: .venv/test
	$(BIN)/python -m benchmarks.fuzz $(SECONDS)

.venv/demo: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/test: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@ .venv/demo

.venv/bin/python: | check-programs
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip

# Packages are installed only if something is missing: a machine that has all of it needs no root.
check-programs:
	@missing=; \
	for program in $(PROGRAMS); do \
		command -v $$program >/dev/null || missing="$$missing $$program"; \
	done; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
		echo "missing:$$missing"; \
		command -v apt-get >/dev/null || { \
			echo "install these with your system's package manager, then run make again"; exit 1; }; \
		$(SUDO) apt-get update -qq && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(PACKAGES); \
	fi

clean:
	rm -rf .venv build
