"""Requests to stop: when they wait for the training, and when they end the cell at once."""

from __future__ import annotations

import pytest
from small_trainings import MeanColor, train_small

import benchmark
from benchmark.training.stop import StopRequest, checked_after_each_step


def test_request_ends_at_once_if_it_is_not_checked() -> None:
    stop = StopRequest()
    with pytest.raises(KeyboardInterrupt):
        stop.request()
    assert not stop.requested


def test_second_request_ends_at_once() -> None:
    stop = StopRequest()

    def request_twice() -> None:
        with checked_after_each_step(stop):
            stop.request()
            assert stop.requested
            stop.request()

    with pytest.raises(KeyboardInterrupt):
        request_twice()
    assert not stop.is_checked


def test_request_after_the_last_check_ends_the_training() -> None:
    stop = StopRequest()
    finished = []

    def train() -> None:
        with checked_after_each_step(stop):
            stop.request()
            finished.append(True)

    with pytest.raises(KeyboardInterrupt):
        train()
    assert finished


def test_training_without_a_request_is_not_affected() -> None:
    for stop in (None, StopRequest()):
        with checked_after_each_step(stop):
            pass


def test_training_without_checkpoint_is_ended_at_once() -> None:
    stop = StopRequest()

    class Stopped(MeanColor):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            stop.request()
            return super().loss(batch)

    with pytest.raises(KeyboardInterrupt):
        train_small(Stopped, stop=stop)
    assert not stop.requested
