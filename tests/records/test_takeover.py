"""A lock that another run took over: the previous owner changes nothing in the cell's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sample_locks import lock_of, taken

from benchmark.errors import RecordError
from benchmark.records.locks import LOCK, CellLock, LostLockError, acquire


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cell folder that does not exist yet."""
    return tmp_path / "runs" / "mean-tiny-stripes-s0-1"


# --- writing under a lock ---------------------------------------------------------------------------------------------


def test_file_is_not_replaced_after_the_lock_was_lost(folder: Path) -> None:
    mine = taken(folder)
    theirs = taken(folder, abandoned_token=lock_of(folder).token)
    (folder / "record.json").write_text("theirs")
    with pytest.raises(LostLockError), mine.replaced(folder / "record.json") as file:
        file.write(b"mine")
    with pytest.raises(LostLockError):
        mine.remove(folder / "record.json")
    assert (folder / "record.json").read_text() == "theirs"
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, "record.json"]
    mine.release()
    theirs.release()


def test_file_is_not_replaced_if_the_lock_is_lost_while_it_is_written(folder: Path) -> None:
    mine = taken(folder)
    theirs: list[CellLock] = []

    def write() -> None:
        with mine.replaced(folder / "record.json") as file:
            file.write(b"mine")
            theirs.append(taken(folder, abandoned_token=lock_of(folder).token))

    with pytest.raises(LostLockError):
        write()
    assert [path.name for path in folder.iterdir()] == [LOCK]
    mine.release()
    theirs[0].release()


def test_owner_that_was_suspended_before_a_rename_cannot_rename(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock was compared before the suspension, and another run took it over and wrote before the rename."""
    mine = taken(folder)
    real = Path.replace

    def suspended(source: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", real)
        theirs.append(taken(folder, abandoned_token=lock_of(folder).token))
        with theirs[0].replaced(folder / "record.json") as file:
            file.write(b"theirs")
        return real(source, target)

    theirs: list[CellLock] = []
    monkeypatch.setattr(Path, "replace", suspended)
    with pytest.raises(LostLockError), mine.replaced(folder / "record.json") as file:
        file.write(b"mine")
    assert (folder / "record.json").read_bytes() == b"theirs"
    mine.release()
    theirs[0].release()


def test_lock_that_cannot_be_read_is_an_error_and_not_lost(folder: Path) -> None:
    lock = taken(folder)
    content = (folder / LOCK).read_bytes()
    (folder / LOCK).unlink()
    (folder / LOCK).mkdir()
    with pytest.raises(RecordError, match="cannot read the lock"):
        lock.check()
    with pytest.raises(RecordError, match="cannot read the lock"):
        acquire(folder, "mean", "cpu")
    (folder / LOCK).rmdir()
    (folder / LOCK).write_bytes(content)
    lock.check()
    lock.release()


def test_removed_folder_is_an_error_and_is_not_created_again(folder: Path) -> None:
    lock = taken(folder)
    shutil.rmtree(folder)
    with pytest.raises(RecordError, match="does not exist any more"), lock.replaced(folder / "record.json") as file:
        file.write(b"x")
    assert not folder.exists()
    lock.release()


def test_lock_whose_title_is_not_utf_8_is_read(folder: Path) -> None:
    lock = acquire(folder, "mean \udcff", "cpu")
    assert lock is not None
    assert lock_of(folder).title == "mean \udcff"
    lock.check()
    lock.release()


def test_taking_a_lock_removes_the_temporary_files_of_earlier_owners(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / ".checkpoint.pt-ab12cd34").write_bytes(b"half")
    lock = taken(folder)
    assert [path.name for path in folder.iterdir()] == [LOCK]
    lock.release()


# --- users of one folder ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")
@pytest.mark.parametrize("umask", [0o002, 0o022])
def test_two_users_of_a_group_share_an_output_folder(tmp_path: Path, umask: int) -> None:
    """The second user locks a new cell, and with umask 002 also one of the first user's."""
    out = tmp_path / "runs"
    out.mkdir()
    os.chown(out, 1001, 2000)
    out.chmod(0o2775)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    tmp_path.chmod(0o755)
    script = (
        "import fcntl, os, sys\n"  # the second user may not be able to read Python's modules
        "from pathlib import Path\n"
        "from benchmark.records.locks import acquire, current_process\n"
        "current_process()\n"
        "os.setgroups([2000]); os.setgid(2000); os.setuid(int(sys.argv[1])); os.umask(int(sys.argv[2]))\n"
        "for cell in sys.argv[4:]:\n"
        "    lock = acquire(Path(sys.argv[3]) / cell, 'mean', 'cpu')\n"
        "    with lock.replaced(Path(sys.argv[3]) / cell / 'record.json') as file: file.write(b'{}')\n"
        "    lock.release()\n"
    )
    for user, cells in (("1001", ["first"]), ("1002", ["second", *(["first"] if umask == 0o002 else [])])):
        command = [sys.executable, "-c", script, user, str(umask), str(out), *cells]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    assert (out / "second" / "record.json").stat().st_gid == 2000
