"""CPU cores that this process may use: its affinity, and the quota of its control groups (containers, Slurm, systemd)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple


def available_cores(root: Path = Path("/")) -> int:
    """CPU cores that this process may use, at least 1. A quota of 2.5 cores counts as 2.

    Args:
        root: the folder that holds `proc` and `sys`.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([affinity, *_quotas(root)])))


class _Mount(NamedTuple):
    """A mounted hierarchy of control groups that limits CPU time."""

    group: PurePosixPath
    """The group that is visible at the folder."""
    folder: Path
    version: int
    """1 or 2."""


def _quotas(root: Path) -> Iterator[float]:
    """The quota of each control group around this process, in cores."""
    groups = _groups(root)
    for mount in _mounts(root):
        group = groups.get(mount.version)
        if group is None:
            continue
        # In a container, the hierarchy may start at the group of the process, whose path is that on the host.
        below = group.relative_to(mount.group) if group.is_relative_to(mount.group) else PurePosixPath()
        folder = mount.folder / below
        for each in (folder, *folder.parents):
            if not each.is_relative_to(mount.folder):
                break
            quota = _quota(each, mount.version)
            if quota is not None:
                yield quota


def _groups(root: Path) -> dict[int, PurePosixPath]:
    """Version -> the group of this process that limits CPU time; see cgroups(7)."""
    groups = {}
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (number, controllers) == ("0", ""):
            groups[2] = PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            groups[1] = PurePosixPath(path)
    return groups


def _mounts(root: Path) -> Iterator[_Mount]:
    """The mounted hierarchies; see /proc/pid/mountinfo in proc(5)."""
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, system = line.partition(" - ")
        fields, (kind, *_, options) = mount.split(" "), system.split(" ")
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            folder = root / fields[4].lstrip("/").replace("\\040", " ")
            yield _Mount(group=PurePosixPath(fields[3]), folder=folder, version=2 if kind == "cgroup2" else 1)


def _quota(folder: Path, version: int) -> float | None:
    """The quota of one group in cores; None if it has none."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        if version == 2:
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()  # "max" means none
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")  # -1 means none
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else None
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
