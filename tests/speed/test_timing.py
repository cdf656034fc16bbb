"""Measurements in turns: `benchmark.speed.timing`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from speed_samples import CPU

from benchmark.speed.timing import TimedCall, speedup, time_in_turns


def test_calls_are_measured_in_turns_inside_their_settings() -> None:
    calls: list[str] = []

    def timed_call(name: str) -> TimedCall:
        @contextlib.contextmanager
        def setting() -> Iterator[None]:
            calls.append(f"{name} in")
            yield
            calls.append(f"{name} out")

        return TimedCall(call=lambda: calls.append(name), setting=setting)

    actual = time_in_turns({name: timed_call(name) for name in "ab"}, CPU, 3, 0.0)
    turn = [word for name in "ab" for word in (f"{name} in", *[name] * 3, f"{name} out")]
    assert calls == turn * 3  # one call that is not timed and two that are
    assert {name: len(seconds) for name, seconds in actual.items()} == {"a": 3, "b": 3}
    assert all(second > 0 for seconds in actual.values() for second in seconds)


def test_setting_is_left_if_its_call_fails() -> None:
    calls = []

    @contextlib.contextmanager
    def setting() -> Iterator[None]:
        try:
            yield
        finally:
            calls.append("left")

    with pytest.raises(ZeroDivisionError):
        time_in_turns({"a": TimedCall(call=lambda: 1 / 0, setting=setting)}, CPU, 1, 0.0)
    assert calls == ["left"]


def test_speedup_is_the_median_of_the_ratios_of_rounds() -> None:
    assert speedup([2.0, 9.0, 40.0], [1.0, 3.0, 10.0]) == 3.0
    assert speedup([4.0, 100.0], [2.0, 100.0]) == 1.5
    with pytest.raises(ValueError, match="zip"):
        speedup([1.0], [1.0, 2.0])
