"""Scaling a recipe to another number of epochs."""

from __future__ import annotations

from benchmark.api.recipes import Recipe, with_epochs


def test_with_epochs_scales_a_papers_schedule_to_a_tenth() -> None:
    paper = Recipe(
        epochs=1500, schedule="milestones", milestones=(240, 480, 640, 800), linear_from=999, final_lr=1e-5, warmup=30
    )
    shorter = with_epochs(paper, 150)
    assert shorter.epochs == 150
    assert shorter.milestones == (24, 48, 64, 80)
    assert shorter.linear_from == 100
    assert shorter.warmup == 3
    assert (shorter.lr, shorter.final_lr, shorter.factor) == (paper.lr, paper.final_lr, paper.factor)


def test_with_epochs_changes_nothing_for_the_same_number_or_without_training() -> None:
    recipe = Recipe(epochs=10, milestones=(4, 8), linear_from=9, warmup=1)
    assert with_epochs(recipe, None) == with_epochs(recipe, 10) == recipe
    assert with_epochs(Recipe(epochs=0), 5) == Recipe(epochs=0)
