"""Temporary files of killed processes: `bench_images.leftovers`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench_images.cache import stored_json, whole_file
from bench_images.leftovers import in_use, remove_leftovers

WRITER = """
import sys
from pathlib import Path
from bench_images.cache import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_temporary_file_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        (temporary,) = tmp_path.iterdir()
        stored_json(path, "key", lambda: 1)
        assert sorted(each.name for each in tmp_path.iterdir()) == sorted([temporary.name, "a.json"])
        writer.send_signal(signal.SIGKILL)
    path.unlink()
    stored_json(path, "key", lambda: 1)
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_two_writers_of_one_process_do_not_remove_each_others_files(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as first, whole_file(tmp_path / "a") as second:
        first.write(b"1")
        second.write(b"2")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("used", [False, True])
def test_folder_is_removed_unless_it_is_in_use(tmp_path: Path, used: bool) -> None:
    folder = tmp_path / ".unpacking-1"
    (folder / "deeper").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    if used:
        with in_use(lambda: folder):
            remove_leftovers(tmp_path, ".unpacking-")
    else:
        remove_leftovers(tmp_path, ".unpacking-")
    assert folder.exists() == used
    assert (tmp_path / "other").exists()


def test_folder_that_is_removed_before_it_is_marked_is_made_again(tmp_path: Path) -> None:
    names = iter("ab")

    def create() -> Path:
        folder = tmp_path / f".unpacking-{next(names)}"
        folder.mkdir()
        if folder.name.endswith("a"):
            remove_leftovers(tmp_path, ".unpacking-")
        return folder

    with in_use(create) as folder:
        assert folder.name == ".unpacking-b"
        remove_leftovers(tmp_path, ".unpacking-")
        assert folder.exists()


def test_links_are_left(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / ".unpacking-link").symlink_to(tmp_path / "data")
    remove_leftovers(tmp_path, ".unpacking-")
    assert (tmp_path / "data").exists()
