"""Fingerprints of source code: what changes them, and what does not."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.api.source_code import InstalledCode, source_of_core, source_of_module


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of sys.path with a package, a module, and a package in a namespace."""
    packages = tmp_path / "packages"
    for folder in ("shapes", "shapes/parts", "company/colors"):
        (packages / folder).mkdir(parents=True)
        (packages / folder / "__init__.py").write_text(f"NAME = '{folder}'\n")
    (packages / "shapes" / "sizes.json").write_text("[1, 2]\n")
    (packages / "single.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(packages)
    return packages


CHANGES: dict[str, Callable[[Path], object]] = {
    "a line": lambda shapes: (shapes / "__init__.py").write_text("NAME = 'other'\n"),
    "a comment": lambda shapes: (shapes / "__init__.py").write_text("NAME = 'shapes'  # a name\n"),
    "a line of a module below": lambda shapes: (shapes / "parts" / "__init__.py").write_text("NAME = 1\n"),
    "a data file": lambda shapes: (shapes / "sizes.json").write_text("[1, 3]\n"),
    "a new file": lambda shapes: (shapes / "new.py").write_text(""),
    "a removed file": lambda shapes: (shapes / "sizes.json").unlink(),
    "a renamed file": lambda shapes: (shapes / "sizes.json").rename(shapes / "areas.json"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_changes_with_each_source_file(packages: Path, change: str) -> None:
    before = source_of_module("shapes")
    assert before == source_of_module("shapes") == source_of_module("shapes.parts")
    CHANGES[change](packages / "shapes")
    assert source_of_module("shapes") not in (None, before)


UNCHANGED: dict[str, Callable[[Path], object]] = {
    "times": lambda shapes: os.utime(shapes / "__init__.py", (0, 0)),
    "line endings": lambda shapes: (shapes / "__init__.py").write_bytes(b"NAME = 'shapes'\r\n"),
    "compiled files": lambda shapes: (shapes / "fast.cpython-311-x86_64-linux-gnu.so").write_text("binary"),
    "caches": lambda shapes: [
        (shapes / "__pycache__").mkdir(),
        (shapes / "__pycache__" / "x.py").write_text("1"),
        (shapes / ".mypy_cache").mkdir(),
        (shapes / ".mypy_cache" / "x.json").write_text("1"),
    ],
    "files of editors": lambda shapes: [(shapes / ".x.py").write_text("1"), (shapes / "x.py~").write_text("1")],
}


@pytest.mark.parametrize("change", UNCHANGED)
def test_fingerprint_does_not_depend_on(packages: Path, change: str) -> None:
    before = source_of_module("shapes")
    UNCHANGED[change](packages / "shapes")
    assert source_of_module("shapes") == before


def test_fingerprint_does_not_depend_on_where_a_package_is(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [source_of_module(name) for name in ("shapes", "single", "company.colors")]
    other = shutil.copytree(packages, tmp_path / "other" / "place")
    monkeypatch.setattr(sys, "path", [str(other), *(path for path in sys.path if path != str(packages))])
    sys.modules.pop("company", None)
    assert [source_of_module(name) for name in ("shapes", "single", "company.colors")] == before
    assert len(set(before)) == 3


def test_package_of_a_namespace_has_a_fingerprint_of_its_own(packages: Path) -> None:
    before = source_of_module("company.colors")
    (packages / "company" / "unrelated").mkdir()
    (packages / "company" / "unrelated" / "__init__.py").write_text("X = 2\n")
    assert source_of_module("company.colors") == before


@pytest.mark.parametrize("name", ["nothing_of_this_name", "company.missing", "math", "sys"])
def test_module_without_source_files_has_no_fingerprint(packages: Path, name: str) -> None:
    assert source_of_module(name) is None


def test_installed_plugins_are_named_by_distribution_and_entry_point(installed: Path) -> None:
    plugins = InstalledCode()
    assert plugins.source("repbench:aet") == source_of_module("bench_aet")
    assert plugins.source("repbench-third-party:third_party") == source_of_module("bench_third_party")
    assert plugins.source("repbench:third_party") is None
    assert len({plugins.source("repbench:aet"), plugins.source("repbench:dim"), source_of_core()}) == 3
