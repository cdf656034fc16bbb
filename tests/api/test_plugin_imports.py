"""Plugins that hang, end or crash the process that imports them are named and left out; others are imported at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BODIES = {
    "hangs": "import time\ntime.sleep(3600)",
    "exits": "import os\nos._exit(0)",
    "crashes": "import ctypes, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nctypes.string_at(0)",
    "interrupts": "raise KeyboardInterrupt",
    "raises": "class Odd(BaseException): ...\nraise Odd('an odd error')",
    "unreadable": "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
    "hook": "import benchmark\n@benchmark.hookimpl\ndef bench_methods():\n    while True: pass",
    "thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()",
    "moves": "import os\nos.chdir('/')",
    "closes": "import os, sys\nos.close(1)\nos.close(2)\nsys.stdout = sys.stderr = None",
    "counts": "import os\nopen(os.environ['COUNT'], 'a').write('x')",
}
REASONS = {
    "hangs": "its import did not end within 1 s (BENCH_IMPORT_SECONDS)",
    "exits": "its import ended the process with exit status 0",
    "crashes": "its import crashed the process (SIGSEGV)",
    "interrupts": "its import raised KeyboardInterrupt",
    "raises": "Odd: an odd error",
    "unreadable": "Odd: (its text cannot be read: ValueError)",
    "hook": "its import did not end within 1 s (BENCH_IMPORT_SECONDS)",
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sys.path with one distribution for each body."""
    folder = tmp_path_factory.mktemp("faulty")
    for name, body in BODIES.items():
        (folder / f"faulty_{name}.py").write_text(body + "\n")
        info = folder / f"faulty_{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: faulty-{name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[bench]\nfaulty_{name} = faulty_{name}\n")
    return folder


def run(script: str, folder: Path, faulty: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **{"PYTHONPATH": str(faulty), "XDG_CACHE_HOME": str(folder / "cache"), "BENCH_IMPORT_SECONDS": "1"},
        **{"COUNT": str(folder / "count"), "BENCH_PLUGINS": "faulty_*,rotation,-faulty_thread", **environment},
    }
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


BENCH = "import sys; from benchmark.cli.main import main; sys.argv = ['bench', *{words}]; main()"


@pytest.fixture(scope="module")
def listed(faulty: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    return run(BENCH.format(words=["list", "plugins"]), tmp_path_factory.mktemp("listed"), faulty)


@pytest.mark.parametrize("name", REASONS)
def test_plugin_whose_import_does_not_return_is_named_and_left_out(
    listed: subprocess.CompletedProcess[str], name: str
) -> None:
    (line,) = [line for line in listed.stdout.splitlines() if f"faulty_{name} " in line]
    assert REASONS[name] in line


def test_other_plugins_are_loaded_and_the_list_is_printed(listed: subprocess.CompletedProcess[str]) -> None:
    assert listed.returncode == 0, listed.stderr
    loaded = listed.stdout.partition("broken plugins:")[0]
    assert all(f"  {name} " in loaded for name in ("rotation", "faulty_moves", "faulty_closes", "faulty_counts"))


@pytest.mark.slow
def test_thread_of_a_plugin_does_not_keep_the_process(faulty: Path, tmp_path: Path) -> None:
    result = run(BENCH.format(words=["list", "plugins"]), tmp_path, faulty, BENCH_PLUGINS="faulty_thread")
    assert "a plugin has started threads that do not end" in result.stderr
    assert result.returncode == 0


LOAD = """
import json, os, pathlib, threading
from benchmark.api.catalog import load_catalog
catalog = load_catalog()
print(json.dumps([os.getcwd(), [each.reason for each in catalog.broken]]))
"""


def test_plugin_is_examined_once_and_again_after_a_change(faulty: Path, tmp_path: Path) -> None:
    def imports(selection: str = "faulty_counts,faulty_moves") -> int:
        before = len((tmp_path / "count").read_text()) if (tmp_path / "count").exists() else 0
        result = run(LOAD, tmp_path, faulty, BENCH_PLUGINS=selection)
        assert result.stdout == f'["{tmp_path}", []]\n', result.stderr
        return len((tmp_path / "count").read_text()) - before

    assert [imports(), imports(), imports()] == [2, 1, 1]
    source = faulty / "faulty_counts.py"
    os.utime(source, (1, 1))
    assert [imports(), imports()] == [2, 1]
    (tmp_path / "cache" / "repbench" / "plugins.json").write_text("damaged")
    assert [imports(), imports()] == [2, 1]
    (tmp_path / "cache" / "repbench" / "importing-999999999").touch()  # a start that died
    assert [imports(), imports()] == [2, 1]


def test_processes_of_a_run_leave_out_the_same_plugins(faulty: Path, tmp_path: Path) -> None:
    """A cell's process has a second thread and examines nothing."""
    script = (
        "import os, subprocess, sys\n"
        "from benchmark.api.catalog import load_catalog\n"
        "load_catalog()\n"
        "sys.exit(subprocess.run([sys.executable, '-c', os.environ['CHILD']], timeout=20).returncode)\n"
    )
    child = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n" + LOAD
    result = run(script, tmp_path, faulty, BENCH_PLUGINS="faulty_hangs,faulty_exits", CHILD=child)
    assert result.returncode == 0, result.stderr
    assert "its import did not end" in result.stdout
    assert "its import ended the process" in result.stdout


def test_fifo_in_place_of_what_is_remembered_does_not_block(faulty: Path, tmp_path: Path) -> None:
    remembered = tmp_path / "cache" / "repbench" / "plugins.json"
    remembered.parent.mkdir(parents=True)
    os.mkfifo(remembered)
    result = run(LOAD, tmp_path, faulty, BENCH_PLUGINS="faulty_counts")
    assert result.returncode == 0, result.stderr


def test_folder_that_cannot_be_written_is_no_error(faulty: Path, tmp_path: Path) -> None:
    result = run(LOAD, tmp_path, faulty, BENCH_PLUGINS="faulty_counts,faulty_exits", XDG_CACHE_HOME="/dev/null")
    assert "its import ended the process" in result.stdout, result.stderr
