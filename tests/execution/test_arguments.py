"""Arguments of benchmark.run; tests/test_results.py has those that reach a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.execution.arguments import data_folder, value_text


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (None, "none"), (0.5, "0.5"), ("a", "a"), ([1, 2], "1;2"), ([True], "true")]
)
def test_value_text_is_that_of_the_command_line(value: object, text: str) -> None:
    assert value_text(value) == text


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}]])
def test_value_text_refuses_dictionaries(value: object) -> None:
    with pytest.raises(ValueError, match="cannot be a dictionary"):
        value_text(value)


def test_data_folder_is_the_argument_then_the_environment_then_data(monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_folder(None) == Path("data")
    monkeypatch.setenv("BENCH_DATA", "~/sets")
    assert data_folder(None) == Path("~/sets").expanduser()
    assert data_folder("here") == Path("here")
