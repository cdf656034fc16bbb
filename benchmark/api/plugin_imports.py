"""Finds plugins that must not be imported: they hang, end their process or crash it.

An import cannot be interrupted. A plugin that is new, or whose files have changed, is therefore imported by a forked process
first. Plugins that were imported without harm are remembered in the user's cache folder, so that the next start imports them
at once. If a start does not survive its imports after all, the next one examines all plugins again.

Processes that this one starts get the result through an environment variable, since cells load the same plugins.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from benchmark.plain_text import shortened

LEFT_OUT = "BENCH_LEFT_OUT"
"""Environment variable: JSON of plugin -> why it is left out."""
SECONDS = "BENCH_IMPORT_SECONDS"
"""Environment variable: longest time for the import of one plugin, 20 s by default."""
REMEMBERED = 500
"""Largest number of plugins in the cache."""

Loader = Callable[[], object]
"""Imports a plugin and calls its hooks."""


@contextlib.contextmanager
def examined(loaders: Mapping[str, Loader], modules: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Plugin -> why it must not be imported. The others are imported inside the block.

    Args:
        loaders: plugin -> function that imports it.
        modules: plugin -> module that it imports.
    """
    left_out = {name: reason for name, reason in _left_out_before().items() if name in loaders}
    new = [name for name in loaders if name not in left_out and modules[name] not in sys.modules]
    if not new or not hasattr(os, "fork") or threading.active_count() > 1:
        yield left_out
        return
    keys = {name: _key(name, modules[name]) for name in new}
    harmless = _harmless_before()
    unknown = {name: loaders[name] for name in new if keys[name] not in harmless}
    if unknown:
        reasons = dict(_examined(unknown))
        _remember(harmless | {keys[name] for name in unknown if name not in reasons})
        if reasons:
            left_out |= reasons
            os.environ[LEFT_OUT] = json.dumps(_left_out_before() | left_out)
    with _imports_marked():
        yield left_out


@contextlib.contextmanager
def _imports_marked() -> Iterator[None]:
    """Leaves a file behind if this process ends in the block, or is interrupted there."""
    folder = _cache_folder()
    if folder is None:
        yield
        return
    mark = folder / f"importing-{os.getpid()}"
    with contextlib.suppress(OSError):
        mark.touch()
    yield
    with contextlib.suppress(OSError):
        mark.unlink()


# --- the forked process -----------------------------------------------------------------------------------------------


def _examined(loaders: Mapping[str, Loader]) -> Iterator[tuple[str, str]]:
    """(plugin, reason) of each plugin that must not be imported."""
    seconds, names = _seconds(), list(loaders)
    while names:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            _import_all([loaders[name] for name in names], writer)
        os.close(writer)
        try:
            with os.fdopen(reader, "rb", buffering=0) as pipe:
                while names and (answer := _answer(pipe, seconds)):
                    name = names.pop(0)
                    if reason := json.loads(answer):
                        yield name, reason
                late = bool(names) and answer is None
        finally:
            for end in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError):
                    end(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        if names:
            yield names.pop(0), f"its import did not end within {seconds:g} s ({SECONDS})" if late else _end(status)


def _import_all(loaders: list[Loader], writer: int) -> NoReturn:
    """Imports plugins, and writes a line after each: the error that its caller could not catch, or an empty text."""
    try:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        for loader in loaders:
            reason = ""
            try:
                loader()
            except KeyboardInterrupt:
                reason = "its import raised KeyboardInterrupt"
            except BaseException:  # noqa: S110  # it is raised again when the plugin is imported
                pass
            os.write(writer, json.dumps(reason).encode() + b"\n")
    finally:
        os._exit(0)


def _answer(pipe: io.FileIO, seconds: float) -> bytes | None:
    """A line; empty if the process has ended, None if it is late."""
    ready, _, _ = select.select([pipe], [], [], seconds)
    return pipe.readline() if ready else None


def _end(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"its import crashed the process ({signal.Signals(-code).name})"
    return f"its import ended the process with exit status {code}"


def _seconds() -> float:
    with contextlib.suppress(ValueError):
        seconds = float(os.environ.get(SECONDS, ""))
        if 0 < seconds < 10**6:
            return seconds
    return 20.0


# --- what is remembered -----------------------------------------------------------------------------------------------


def _left_out_before() -> dict[str, str]:
    """What the process that started this one has left out."""
    with contextlib.suppress(ValueError, AttributeError):
        return {
            str(name): shortened(str(reason)) for name, reason in json.loads(os.environ.get(LEFT_OUT, "{}")).items()
        }
    return {}


def _cache_folder() -> Path | None:
    """A folder for files that may be deleted at any time; None if there is none that can be written."""
    with contextlib.suppress(OSError, RuntimeError):
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "repbench"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    return None


def _harmless_before() -> set[str | None]:
    """Keys of plugins that were imported without harm; empty if an earlier start died during its imports."""
    folder = _cache_folder()
    if folder is None:
        return set()
    with contextlib.suppress(OSError, ValueError, TypeError):
        died = [
            path for path in folder.glob("importing-*") if not Path(f"/proc/{path.name.partition('-')[2]}").exists()
        ]
        for path in died:
            path.unlink()
        remembered = folder / "plugins.json"
        if not died and remembered.is_file():  # a FIFO would block every command
            return {str(key) for key in json.loads(remembered.read_bytes())}
    return set()


def _remember(keys: set[str | None]) -> None:
    folder = _cache_folder()
    if folder is not None:
        with contextlib.suppress(OSError):
            temporary = folder / f"plugins-{os.getpid()}.json"
            temporary.write_text(json.dumps(sorted(key for key in keys if key)[-REMEMBERED:]), encoding="utf-8")
            temporary.replace(folder / "plugins.json")


def _key(name: str, module: str) -> str | None:
    """Identifies a plugin with the sizes and times of its files; None if they cannot be listed."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
        if spec is None:
            return None
        roots = list(spec.submodule_search_locations or [str(spec.origin)])
        stamps = [(path, status.st_size, status.st_mtime_ns) for path, status in sorted(_files(roots))]
    except (OSError, ValueError, ImportError):
        return None
    text = f"{module} {sys.version} {sys.prefix} {stamps}".encode(errors="surrogateescape")
    return f"{name} {hashlib.sha256(text).hexdigest()[:16]}"


def _files(roots: list[str]) -> Iterator[tuple[str, os.stat_result]]:
    for root in roots:
        if os.path.isfile(root):  # noqa: PTH113  # creating Path objects takes longer than the calls
            yield root, os.stat(root)  # noqa: PTH116
        for folder, _, names in os.walk(root):
            for each in names:
                if each.endswith(".py"):
                    path = f"{folder}/{each}"
                    yield path, os.stat(path)  # noqa: PTH116
