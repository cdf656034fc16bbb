"""Evaluators: one that takes its time, one that goes wrong where it was cursed."""

from __future__ import annotations

import os
import sys
import time

from bench_third_party.centroid import nearest_centroid

import benchmark
from third_party_faults import methods
from third_party_faults.diary import note, seconds


def slow_centroid(probe: benchmark.Probe) -> benchmark.Evaluation:
    """Notes `score` before and `scored` after; of which cell, only the process tells."""
    note("score", probe.tap)
    time.sleep(seconds("THIRD_PARTY_SCORE_SECONDS"))
    found = nearest_centroid(probe)
    note("scored", probe.tap)
    return found


def cursed(probe: benchmark.Probe) -> benchmark.Evaluation:
    """The nearest class mean, unless the method that was trained in this process has put a curse on it."""
    if methods.curses == ["raises"]:
        raise ZeroDivisionError("the curse of the evaluator")
    if methods.curses == ["exits"]:
        sys.exit("the evaluator has had enough")
    if methods.curses == ["dies"]:
        os.write(2, b"the evaluator says farewell\n")
        os._exit(9)
    return nearest_centroid(probe)
