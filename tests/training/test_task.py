"""The length of a training."""

from __future__ import annotations

import dataclasses

import pytest
from small_trainings import RECIPE, MeanColor, train_small

from benchmark.training.task import training_length


@pytest.mark.parametrize(
    ("count", "drop_last", "batch", "steps", "seen"),
    [(40, True, 16, 2, 32), (40, False, 16, 3, 40), (8, True, 8, 1, 8), (8, False, 8, 1, 8), (32, False, 16, 2, 32)],
)
def test_epoch_has_whole_batches_and_a_smaller_last_one_unless_dropped(
    count: int, drop_last: bool, batch: int, steps: int, seen: int
) -> None:
    length = training_length(dataclasses.replace(RECIPE, drop_last=drop_last), count)
    assert (length.batch, length.steps_per_epoch, length.total_steps) == (batch, steps, 3 * steps)
    assert [length.images_seen(each) for each in (0, 1, steps, steps + 1)] == [0, batch, seen, seen + batch]


def test_steps_limit_ends_the_training_after_that_many_steps() -> None:
    class Counting(MeanColor):
        steps = 0

        def after_step(self, progress: float) -> None:
            Counting.steps += 1

    for limit, steps in ((1, 1), (3, 3), (4, 4), (100, 6)):
        Counting.steps = 0
        trained = train_small(Counting, steps=limit)
        assert Counting.steps == steps
        assert trained.images_seen == 16 * steps
