"""Tables on a terminal."""

from __future__ import annotations

import dataclasses
import io
import random
import re

import pytest
from rich.console import Console
from sample_records import awkward_tables, sample_record, sample_score

from benchmark.records.record import Record
from benchmark.reports.render import render_tables
from benchmark.reports.score_tables import score_tables
from benchmark.reports.table import Table
from benchmark.reports.terminal import print_tables


def _seeds(values: list[float], method: str = "aet") -> list[Record]:
    return [sample_record(method, seed=seed, scores=(sample_score(value),)) for seed, value in enumerate(values)]


def test_terminal_shows_brackets_unchanged() -> None:
    text = render_tables(awkward_tables(), "table")
    for part in ("aet[transform=affine]", "knn[k=5] on photos[subset=50]", "x|y", "[red]here[/red] [/x]"):
        assert part in text
    assert "\x1b" not in text


@pytest.mark.parametrize(("width", "metrics"), [(80, 1), (100, 2), (150, 5)])
def test_narrow_terminal_leaves_out_the_last_metrics_and_cuts_no_digit(width: int, metrics: int) -> None:
    names = ["accuracy@k=20", "accuracy@k=200", "vote_accuracy@k=20", "vote_accuracy@k=1", "map"]
    scores = tuple(sample_score(0.1 + 0.01 * n, metric=name, headline=n == 0) for n, name in enumerate(names))
    records = [sample_record("aet[transform=affine]", seed=seed, scores=scores) for seed in range(2)]
    found = score_tables([*records, *(sample_record("dim", seed=seed, scores=scores) for seed in range(2))])
    text = render_tables(found, "table", width)
    assert max(len(line) for line in text.splitlines()) <= width
    for n, name in enumerate(found[0].columns[5:]):
        assert (f"{0.1 + 0.01 * names.index(name):.4f}" in text) == (n < metrics)
        assert name in text
    assert ("Too narrow for" in text) == (metrics < 5)
    assert "aet[transform=affine]" in text


def test_table_that_does_not_fit_folds_its_texts() -> None:
    text = render_tables(score_tables([sample_record()]), "table", 30)
    assert max(len(line) for line in text.splitlines()) <= 30
    assert "n=8testimages" in "".join(text.split())
    assert all(digits in text for digits in ("0.5", "[0", "375"))


TEXTS = (
    "",
    "-",
    "aet[transform=affine]",
    "0.5000 ±0.0707",
    "did not learn; smoke run: not a result",
    "x" * 30,
    "a  b",
    "1: 2: 3",
)


@pytest.mark.parametrize("width", [60, 100, 200, 400])
def test_fast_path_draws_the_same_lines_as_rich(width: int) -> None:
    rng = random.Random(width)
    for _ in range(40):
        columns = ("method", "encoder", "tap", "epochs", "seeds", *("accuracy@k=20", "map")[: rng.randint(1, 2)])
        columns += ("remarks",) * rng.randint(0, 1)
        rows = [tuple(rng.choice(TEXTS) for _ in columns) for _ in range(rng.choice([1, 7]))]
        rows.append(("last", *(rng.choice(TEXTS) for _ in columns[1:])))
        best = frozenset((i, 5) for i in range(len(rows)) if rng.random() < 0.3)
        table = Table(title="knn", columns=columns, rows=tuple(rows), best=best, notes=("a note",))
        # Text that is not ASCII is left to rich.
        by_rich = dataclasses.replace(table, rows=(*table.rows[:-1], ("läst", *table.rows[-1][1:])))
        assert render_tables([by_rich], "table", width).replace("ä", "a") == render_tables([table], "table", width)


@pytest.mark.parametrize("text", ["日本語", "a\\", ":smile:", "line\nbreak", "[bold]no[/bold]", "tab\there", "é"])
@pytest.mark.parametrize("width", [30, 100])
def test_unusual_texts_are_shown_within_the_width(text: str, width: int) -> None:
    table = Table(title="knn", columns=("method", "encoder", "tap"), rows=((text, "resnet18", "fc"),))
    lines = render_tables([table], "table", width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("resnet18" in line for line in lines)
    assert width < 100 or "bold" not in text or any("[bold]no[/bold]" in line for line in lines)


def test_terminal_prints_the_best_in_bold() -> None:
    (table,) = score_tables([*_seeds([0.5, 0.6], "aet"), *_seeds([0.1, 0.2], "dim")])
    stream = io.StringIO()
    print_tables([table], Console(file=stream, width=200, force_terminal=True, color_system="standard"))
    text = stream.getvalue()
    assert "\x1b[1m" in text
    (bold,) = [line for line in text.splitlines() if "0.5500 ±0.0707" in line]
    assert bold.index("\x1b[1m") < bold.index("0.5500 ±0.0707") < bold.index("\x1b[0m")
    assert re.sub(r"\x1b\[\d*m", "", text) == render_tables([table], "table", 200)
