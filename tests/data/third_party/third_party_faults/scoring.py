"""Evaluators: a slow one, and one that fails in the process of `fault_scoring`."""

from __future__ import annotations

import os
import sys
import time

from bench_third_party.centroid import nearest_centroid

import benchmark
from third_party_faults import methods
from third_party_faults.activity import note, seconds


def slow_centroid(probe: benchmark.Probe) -> benchmark.Evaluation:
    """Logs `score` before and `scored` after, with the tap instead of the cell."""
    note("score", probe.tap)
    time.sleep(seconds("THIRD_PARTY_SCORE_SECONDS"))
    evaluation = nearest_centroid(probe)
    note("scored", probe.tap)
    return evaluation


def fragile(probe: benchmark.Probe) -> benchmark.Evaluation:
    """The nearest class mean, or the failure that a method set in this process."""
    if methods.failures == ["raises"]:
        raise ZeroDivisionError("the evaluator fails")
    if methods.failures == ["exits"]:
        sys.exit("the evaluator exits")
    if methods.failures == ["dies"]:
        os.write(2, b"the evaluator ends its process\n")
        os._exit(9)
    return nearest_centroid(probe)
