"""Fixtures of the command-line tests: `bench run` with quick third-party plugins, and its finished cells."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from command_line import INLINE, STRIPES
from conftest import Bench


@pytest.fixture
def run(third_party: Path, bench: Bench) -> Bench:
    """`bench run` for one epoch in this process, on the third-party encoder, dataset and evaluator."""

    def with_defaults(methods: str, *words: str) -> Result:
        return bench("run", "--methods", methods, *STRIPES, *INLINE, *words)

    return with_defaults


@pytest.fixture
def finished(run: Bench) -> Bench:
    """Two finished cells in runs/; `bench run` as `run`."""
    assert run("mean_color,byol").exit_code == 0
    return run
