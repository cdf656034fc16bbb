"""Random corruptions of stored files, and what every command that reads them makes of each."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import random
import re
import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from benchmark.records.csv_columns import VARIES

METHODS = ("mean_color", "mean_color[part=left]")
DATASET = "folder[path=photos,size=8]"
PLAN = ("--methods", ",".join(METHODS), "--encoders", "tiny", "--datasets", DATASET, "--seeds", "2", "--no-floors")
PLAN = (*PLAN, "--epochs", "1", "--out", "runs", "--device", "cpu")
EVALUATED = ("--evaluators", "centroid,knn")
FIRST, SECOND = (f"{method}/tiny/photos" for method in METHODS)
INLINE = ("--executor", "inline", "--quiet")

MARK = re.compile(r"\bdo not fit their intervals\b|\b(outcomes|weights) changed\b|\bweights have changed since\b")
"""In the notes of a check, in the remarks of a table and in the status of a folder."""
IGNORED = re.compile(r"In the baseline but not in the run, ignored: .*", re.DOTALL)
"""In a check: the scores of the baseline that the run has not."""
CELL_FOLDER = re.compile(r"\bmean_color[a-z-]*-photos-s\d-[0-9a-f]{10}\b")

NUMBERS = (*("method", "encoder", "seed", "tap", "evaluator", "metric"), *("value", "ci_low", "ci_high", "n"))

CELLS = {
    "record": "runs/*/record.json",
    "weights": "runs/*/model.safetensors",
    "predictions": "runs/*/predictions.npz",
}
"""Kind of file -> where it is. These are read by the commands of FROM_CELLS."""
OTHERS = {
    "index": "runs/.index.npz",
    "pixels": "data/**/images*",
    "leaderboard": "boards/photos.jsonl",
    "leaderboard_outcomes": "boards/photos.outcomes.npz",
    "leaderboard_csv": "table/photos.csv",
    "checkpoint": "interrupted/*/checkpoint.pt",
}

FROM_CELLS: dict[str, tuple[str, ...]] = {
    "table": ("table", "runs"),
    "table_csv": ("table", "runs", "--format", "csv"),
    "table_by_tap": ("table", "runs", "--by", "tap"),
    "status": ("status", "runs"),
    "plan": ("plan", *PLAN, *EVALUATED),
    "compare": ("compare", FIRST, SECOND),
    "compare_cells": ("compare", f"{FIRST}/0", f"{FIRST}/1", "--cka"),
    "check": ("check", "runs", "--baseline", "before/photos.jsonl"),
    "check_csv": ("check", "runs", "--baseline", "before/photos.csv"),
    "explain": ("explain", f"{FIRST}/0", f"{SECOND}/0"),
    "features": ("features", f"{FIRST}/0", "-o", "made/features.npz"),
    "neighbors": ("neighbors", f"{FIRST}/0", "-o", "made/neighbors.png"),
    "map": ("map", f"{FIRST}/0", "--method", "pca", "-o", "made/map.png"),
    "export": ("export", "runs", "--to", "made"),
    "export_again": ("export", "runs", "--to", "boards"),
    "merge": ("merge", "runs", "--to", "made"),
    "verify": ("verify", "runs", "--sample", "4", "--device", "cpu"),
    "correlate": ("correlate", "runs", "--min-cells", "2"),
    "run": ("run", *PLAN, *EVALUATED, *INLINE),
    "run_evaluator": ("run", *PLAN, "--evaluators", "centroid,knn[k=3]", *INLINE),
}
"""Commands that read a folder of cells."""
FROM_LEADERBOARD: dict[str, tuple[str, ...]] = {
    "table": ("table", "boards/photos.jsonl"),
    "table_csv": ("table", "boards/photos.jsonl", "--format", "csv"),
    "table_by_tap": ("table", "boards/photos.jsonl", "--by", "tap"),
    "compare": ("compare", f"boards/photos.jsonl#{FIRST}", f"boards/photos.jsonl#{SECOND}"),
    "compare_leaderboards": ("compare", "boards/photos.jsonl", "before/photos.jsonl"),
    "compare_cell": ("compare", f"{FIRST}/0", f"boards/photos.jsonl#{FIRST}/0"),
    "check": ("check", "runs", "--baseline", "boards/photos.jsonl"),
    "check_leaderboard": ("check", "boards/photos.jsonl", "--baseline", "before/photos.csv"),
    "explain": ("explain", "--out", "boards/photos.jsonl", f"{FIRST}/0", f"{SECOND}/0"),
    "export_again": ("export", "runs", "--to", "boards"),
    "verify": ("verify", "boards/photos.jsonl", "--sample", "4", "--device", "cpu", "--dataset", DATASET),
    "correlate": ("correlate", "boards/photos.jsonl", "--min-cells", "2"),
}
"""Commands that read a leaderboard."""


INTERRUPTED = ("--methods", "fault_waits", "--encoders", "tiny", "--datasets", DATASET, "--no-floors", "--epochs", "3")
INTERRUPTED = (*INTERRUPTED, "--out", "interrupted", "--device", "cpu", "--evaluators", "centroid")
FROM_CHECKPOINT: dict[str, tuple[str, ...]] = {
    "status": ("status", "interrupted"),
    "plan": ("plan", *INTERRUPTED),
    "run": ("run", *INTERRUPTED, *INLINE),
}
"""Commands that read or continue an interrupted cell."""


def commands_of(kind: str) -> dict[str, tuple[str, ...]]:
    """The commands that read a kind of file."""
    if kind == "checkpoint":
        return FROM_CHECKPOINT
    if kind == "leaderboard_csv":
        return {"check": ("check", "runs", "--baseline", "table/photos.csv")}
    return FROM_LEADERBOARD if kind.startswith("leaderboard") else FROM_CELLS


def files_of(kind: str, folder: Path) -> list[Path]:
    return sorted(folder.glob({**CELLS, **OTHERS}[kind]))


# --- corruptions --------------------------------------------------------------------------------------------------------


def _flip_bit(body: bytearray, chance: random.Random) -> None:
    body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)


def _change_byte(body: bytearray, chance: random.Random) -> None:
    body[chance.randrange(len(body))] ^= chance.randrange(1, 256)


def _change_digit(body: bytearray, chance: random.Random) -> None:
    digits = [match.start() for match in re.finditer(rb"\d", body)]
    at = chance.choice(digits)
    body[at : at + 1] = str((int(body[at : at + 1]) + chance.randrange(1, 10)) % 10).encode()


def _zero_block(body: bytearray, chance: random.Random) -> None:
    start, end = sorted(chance.randrange(len(body) + 1) for _ in range(2))
    body[start:end] = bytes(end - start)


def _cut(body: bytearray, chance: random.Random) -> None:
    del body[chance.randrange(len(body)) :]


def _remove_range(body: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(body))
    del body[start : start + chance.randrange(1, 200)]


def _repeat_range(body: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(body))
    part = body[start : start + chance.randrange(1, 200)]
    body[start:start] = part


def _append(body: bytearray, chance: random.Random) -> None:
    body += chance.randbytes(chance.randrange(1, 200))


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip_bit, _change_byte, _change_digit, _zero_block, _cut, _remove_range, _repeat_range, _append),
)


@dataclass(frozen=True)
class Corruption:
    """One damaged file."""

    path: Path
    """Relative to the folder."""
    what: str
    """Which change was made."""


def corrupt(kind: str, folder: Path, chance: random.Random) -> Corruption:
    """Damages a random file of a kind: changes its bytes, or exchanges it with another file of its kind.

    Every other time the file keeps its time of modification, as after a fault of a disk.
    """
    files = files_of(kind, folder)
    path = chance.choice(files)
    status = path.stat()
    if len(files) > 1 and chance.random() < 1 / (1 + len(CHANGES)):
        other = chance.choice([each for each in files if each != path])
        body, second = path.read_bytes(), other.read_bytes()
        path.write_bytes(second)
        other.write_bytes(body)
        what = f"exchanged with {other.relative_to(folder)}"
    else:
        change = chance.choice(CHANGES)
        changed = bytearray(path.read_bytes())
        change(changed, chance)
        path.write_bytes(changed)
        what = change.__name__.strip("_")
    if chance.random() < 0.5:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        what += ", time kept"
    return Corruption(path.relative_to(folder), what)


# --- what a command makes of it -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What a command printed and wrote."""

    code: int
    out: str
    err: str
    files: dict[str, object]
    """The files that it wrote, without times."""
    traceback: str

    @property
    def result(self) -> tuple[object, ...]:
        """What must not be wrong. Times differ between two runs, and a record may lie in another cell's folder."""
        text = re.sub(r"\d+(\.\d+)? (s|min|h)\b", "TIME", self.out)
        return self.code, CELL_FOLDER.sub("FOLDER", text), self.files


def run_command(words: tuple[str, ...], folder: Path) -> Answer:
    """Runs `bench` in this process, in a folder."""
    from benchmark.cli.main import main

    (folder / "made").mkdir(exist_ok=True)
    with contextlib.chdir(folder):
        result = CliRunner().invoke(main, words)
    problem = ""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        problem = "".join(traceback.format_exception(result.exception))
    elif result.exit_code == 70 or "Traceback" in result.output:
        problem = result.output
    return Answer(result.exit_code, result.stdout, result.stderr, dict(_written(words, folder)), problem)


def _written(words: tuple[str, ...], folder: Path) -> Iterator[tuple[str, object]]:
    """Name and content of what a command wrote."""
    leaderboards = folder.glob("boards/*") if words[0] == "export" else ()
    for path in sorted([*folder.glob("made/**/*"), *leaderboards]):
        if path.is_file() and not path.name.startswith("."):
            yield str(path.relative_to(folder)), _arrays(path) if path.suffix == ".npz" else path.read_bytes()
    if words[0] == "run":
        out = folder / words[words.index("--out") + 1]
        yield "scores", _scores(out / "scores.csv")
        for path in sorted(out.glob("*/model.safetensors")):
            yield str(path.relative_to(folder)), path.read_bytes()


def _arrays(path: Path) -> object:
    """The contents of an .npz, whose bytes may differ in times and unused fields; its bytes if it was copied damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {name: (file[name].dtype.str, file[name].shape, file[name].tobytes()) for name in file.files}
    except Exception:  # numpy and zipfile raise many types for damaged files
        return path.read_bytes()


def _scores(path: Path) -> list[dict[str, str]]:
    without = {*VARIES, "commit"}
    rows = csv.DictReader(io.StringIO(path.read_text()))
    return [{key: value for key, value in row.items() if key not in without} for row in rows]


@dataclass(frozen=True)
class Fault:
    """A command that answered a corruption wrongly."""

    kind: str
    command: str
    corruption: Corruption
    how: str
    """`silent`: another result, and no word about the file. `wrong`: another number. `traceback`: an internal error."""
    answer: Answer

    def __str__(self) -> str:
        text = self.answer.traceback or f"{self.answer.out}\n{self.answer.err}"
        return f"{self.how}: {self.command} after {self.corruption.path} ({self.corruption.what})\n{text[-1500:]}"


def names_file(answer: Answer, expected: Answer, corruption: Corruption) -> bool:
    """Whether a command says which file or cell is damaged, or marks rows of a table, in lines that are not expected."""
    usual = {*expected.out.splitlines(), *expected.err.splitlines()}
    text = "\n".join(line for line in [*answer.out.splitlines(), *answer.err.splitlines()] if line not in usual)
    words = {corruption.path.name, corruption.path.parent.name}
    if corruption.path.parts[0] == "runs" and len(corruption.path.parts) == 3:
        words = {corruption.path.parent.name}
    ignored, usually_ignored = (IGNORED.findall(each.out) for each in (answer, expected))
    return any(word in text for word in words) or MARK.search(text) is not None or ignored != usually_ignored


def fault(kind: str, command: str, expected: Answer, answer: Answer, corruption: Corruption) -> Fault | None:
    """The fault of a command's answer, if it has one."""
    if answer.traceback:
        return Fault(kind, command, corruption, "traceback", answer)
    if answer.result != expected.result and not names_file(answer, expected, corruption):
        return Fault(kind, command, corruption, "silent", answer)
    if (
        not numbers(answer) <= numbers(expected) and "altered: " not in answer.err
    ):  # edited records are shown, and named
        return Fault(kind, command, corruption, "wrong", answer)
    return None


def numbers(answer: Answer) -> set[tuple[str | None, ...]]:
    """The scores in the CSV that a command printed or wrote, with their conditions."""
    tables = [answer.out] if answer.out.startswith("method,") else []
    tables += [bytes(body).decode() for name, body in answer.files.items() if name.endswith("photos.csv")]  # type: ignore[call-overload]
    rows = [row for text in tables for row in csv.DictReader(io.StringIO(text))]
    return {tuple(row.get(name) for name in NUMBERS) for row in rows}


def expected_answers(kind: str, folder: Path, scratch: Path) -> dict[str, Answer]:
    """What the commands make of the undamaged folder."""
    answers = {}
    for name, words in commands_of(kind).items():
        shutil.copytree(folder, scratch, dirs_exist_ok=False)
        answers[name] = run_command(words, scratch)
        shutil.rmtree(scratch)
    return answers


def faults_of(
    kind: str, folder: Path, scratch: Path, expected: dict[str, Answer], chance: random.Random
) -> Iterator[Fault]:
    """The faults of all commands after one random corruption of a kind of file."""
    damaged = scratch.with_name("damaged")
    shutil.copytree(folder, damaged)
    corruption = corrupt(kind, damaged, chance)
    for name, words in commands_of(kind).items():
        shutil.copytree(damaged, scratch)
        problem = fault(kind, name, expected[name], run_command(words, scratch), corruption)
        if problem is not None:
            yield problem
        shutil.rmtree(scratch)
    shutil.rmtree(damaged)
