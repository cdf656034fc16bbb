"""Damaged stored files: no command crashes, and none gives another result without a word about the file."""

from __future__ import annotations

import os
import random
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from corruptions import EVALUATED, INLINE, INTERRUPTED, PLAN, Fault, expected_answers, faults_of, run_command
from launched import until
from PIL import Image

KINDS = (
    "record",
    "weights",
    "predictions",
    "index",
    "pixels",
    "leaderboard",
    "leaderboard_outcomes",
    "leaderboard_csv",
    "checkpoint",
)
CORRUPTIONS = int(os.environ.get("CORRUPTIONS", "200"))
"""Of each kind of file in the slow test."""


def write_photos(folder: Path) -> None:
    """Two classes that differ in color, with noise: 40 training images and 24 test images of 8 x 8 pixels."""
    generator = np.random.default_rng(1)
    for split, count in (("train", 20), ("test", 12)):
        for number, name in enumerate(("dark", "light")):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 200, (8, 8, 3)) + 12 * number
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{index}.png")


@pytest.fixture(scope="module")
def finished(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four finished cells on images, exported to two leaderboards: one is a baseline, the other is damaged."""
    folder = tmp_path_factory.mktemp("finished")
    write_photos(folder / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        for words in (
            ("run", *PLAN, *EVALUATED, *INLINE),
            ("export", "runs", "--to", "before"),
            ("export", "runs", "--to", "boards"),
            ("table", "runs"),
        ):
            answer = run_command(words, folder)
            assert answer.code == 0, answer
        (folder / "table").mkdir()
        shutil.copy(
            folder / "boards" / "photos.csv", folder / "table"
        )  # without the .jsonl, which would be read instead
        interrupt(folder, site)
    (folder / "made").rmdir()
    return folder


def interrupt(folder: Path, site: Path) -> None:
    """Starts a cell and interrupts it in its first step, which leaves a checkpoint."""
    gate = folder / "gate"
    gate.touch()

    def stop() -> None:
        until(gate.with_name("gate.reached").exists, "the first step")
        os.kill(os.getpid(), signal.SIGTERM)  # the run passes it on to the process of the cell
        gate.unlink()

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor() as pool:
        patch.setenv("THIRD_PARTY_GATE", str(gate))
        patch.setenv("PYTHONPATH", str(site))
        stopped = pool.submit(stop)
        answer = run_command(("run", *INTERRUPTED, "--quiet"), folder)
        stopped.result()
    assert answer.code == 130, answer
    assert list(folder.glob("interrupted/*/checkpoint.pt"))


def faults(kind: str, folder: Path, scratch: Path, count: int) -> list[Fault]:
    chance = random.Random(f"{kind}-{os.environ.get('CORRUPTIONS_SEED', '1')}")
    expected = expected_answers(kind, folder, scratch)
    return [fault for _ in range(count) for fault in faults_of(kind, folder, scratch, expected, chance)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_command_is_silent_about_a_damaged_file(kind: str, finished: Path, installed: Path, tmp_path: Path) -> None:
    problems = faults(kind, finished, tmp_path / "copy", CORRUPTIONS)
    assert not problems, f"{len(problems)} faults\n" + "\n\n".join(map(str, problems[:20]))
