# Each target makes what it needs, starting from a Python 3.11 or newer with venv.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= configs/storybook.py
WORKDIR ?= runs/storybook
STUDIO ?= examples/storybook_model
# Large pages of memory: on CPUs under Linux the storybook trains in 0.79 of the time.
GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: quickstart storybook-long studio test test-onnx test-all check lint clean

quickstart: .venv/installed  ## install, train on the embedded data set, draw the example graphs
	GLIBC_TUNABLES=$(GLIBC_TUNABLES) $(BIN)/python -m sg2im_jax.train --config=$(CONFIG) --workdir=$(WORKDIR)
	$(BIN)/python -m sg2im_jax.sample --workdir=$(WORKDIR) --scene_graphs=examples/sheep.json --output_dir=$(WORKDIR)/samples/sheep
	$(BIN)/python -m sg2im_jax.sample --workdir=$(WORKDIR) --scene_graphs=examples/storybook.json --output_dir=$(WORKDIR)/samples/storybook
	@echo "The pictures: $(WORKDIR)/samples/sheep/overview.png and $(WORKDIR)/samples/storybook/overview.png"

storybook-long: .venv/installed  ## the same, trained for longer; continues where it was stopped
	$(MAKE) quickstart CONFIG=configs/storybook_long.py WORKDIR=runs/storybook_long

studio: .venv/installed-studio  ## install, open the studio with the model that the repository ships
	$(BIN)/python -m sg2im_jax.studio --workdir=$(STUDIO)

test: .venv/installed-dev  ## install and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not exhaustive'

test-onnx: .venv-onnx/installed  ## the tests of exports as ONNX and as a page, in their own environment
	.venv-onnx/bin/python -m pytest tests/sg2im_jax/exporting/formats_test.py

test-all: .venv/installed-dev  ## the tests, also the exhaustive ones
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: lint  ## the inner loop: style, types and the fast tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not exhaustive'

lint: .venv/installed-dev  ## check the style and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-studio: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[studio]'
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# jax2onnx wants an older orbax-checkpoint. All else is taken from .venv.
.venv-onnx/installed: .venv/installed-dev
	$(PYTHON) -m venv .venv-onnx
	cd .venv-onnx/lib/*/site-packages && realpath ../../../../.venv/lib/*/site-packages > base.pth
	.venv-onnx/bin/python -m pip install --quiet --editable '.[onnx]'
	touch $@

clean:  ## remove the environments; data sets and runs stay
	rm -rf .venv .venv-onnx build dist *.egg-info
