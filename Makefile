# Copyright 2026 the vss_ros authors
# SPDX-License-Identifier: Apache-2.0
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test lint bench clean

help: ## this text
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

.venv/run.done: requirements.txt setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@

.venv/test.done: .venv/run.done requirements-test.txt requirements-train.txt requirements-report.txt
	$(BIN)/pip install --quiet -r requirements-train.txt
	$(BIN)/pip install --quiet -r requirements-test.txt
	@touch $@

demo: .venv/run.done ## render a synthetic drive, segment it, say where labels, overlay and report lie
	$(BIN)/vss demo --out demo

test: .venv/test.done ## all tests but the slow ones; with ROS 2 sourced or in /opt/ros the live ones too
	@set -e; for setup in /opt/ros/*/setup.bash; do \
	  if [ -z "$$AMENT_PREFIX_PATH" ] && [ -f "$$setup" ]; then echo "tests use $$setup"; \
	    exec bash -c ". $$setup && exec $(BIN)/python -m pytest $(ARGS)"; fi; done; \
	  exec $(BIN)/python -m pytest $(ARGS)

lint: .venv/test.done ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.venv/bench.done: .venv/test.done requirements-bench.txt
	$(BIN)/pip install --quiet -r requirements-bench.txt
	@touch $@

bench: .venv/bench.done ## the figures of the README
	$(BIN)/python bench/attention.py --threads 1 --plot docs/attention_cost.svg --json bench/results/attention_1_thread.json
	$(BIN)/python bench/attention.py --threads 2 --json bench/results/attention_2_threads.json
	$(BIN)/python bench/batch.py --json bench/results/batch.json
	$(BIN)/python bench/stream.py --size 480x360 --json bench/results/stream_480x360.json
	$(BIN)/python bench/stream.py --size 1024x512 --no-peers --json bench/results/stream_1024x512.json
	$(BIN)/python bench/methods.py --hosts all $(if $(wildcard ../shared/data/camvid),--data ../shared/data/camvid) --json bench/results/methods.json
	$(BIN)/python bench/warp.py --json bench/results/warp.json
	$(if $(wildcard ../shared/data/camvid),$(BIN)/python bench/motion.py --json bench/results/motion.json)
	@set -e; for setup in /opt/ros/*/setup.bash; do \
	  if [ -z "$$AMENT_PREFIX_PATH" ] && [ -f "$$setup" ]; then \
	    exec bash -c ". $$setup && exec $(BIN)/python bench/node.py --json bench/results/node.json"; fi; done; \
	  exec $(BIN)/python bench/node.py --json bench/results/node.json

clean: ## remove what make made
	rm -rf .venv build demo *.egg-info
