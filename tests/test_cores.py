"""CPU cores of this process: affinity and quotas of control groups of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmark.cores import available_cores

V1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct"
V2 = "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw"


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def cores(root: Path, group: str, mount: str, files: dict[str, str]) -> int:
    """Cores of a process in a control group, on a machine with these files below /sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group + "\n")
    (root / "proc/self/mountinfo").write_text(f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n{mount}\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return available_cores(root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000", 8),
        ("300000 100000", 3),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("1600000 100000", 8),
        ("no number", 8),
        ("", 8),
        ("100000 0", 8),
    ],
)
def test_quota_of_version_2_counts_in_whole_cores(tmp_path: Path, text: str, expected: int) -> None:
    assert cores(tmp_path, "0::/", V2, {"cpu.max": text}) == expected


def test_smallest_quota_of_nested_groups_counts(tmp_path: Path) -> None:
    files = {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000", "a/b/c/cpu.max": "400000 100000"}
    assert cores(tmp_path, "0::/a/b/c", V2, files) == 2


def test_quota_of_version_1_counts(tmp_path: Path) -> None:
    files = {"cpu/job/cpu.cfs_quota_us": "400000", "cpu/job/cpu.cfs_period_us": "200000"}
    assert cores(tmp_path, "5:cpu,cpuacct:/job/step\n4:memory:/other", V1, files) == 2


def test_version_1_without_a_quota_has_no_limit(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    assert cores(tmp_path, "1:cpu:/", V1, files) == 8


def test_quota_counts_in_a_container_that_sees_the_path_of_the_host(tmp_path: Path) -> None:
    mount = V1.replace("0:29 /", "0:29 /docker/abc")
    files = {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}
    assert cores(tmp_path, "5:cpu,cpuacct:/docker/abc", mount, files) == 3
    assert cores(tmp_path / "2", "0::/docker/abc", V2, {"cpu.max": "200000 100000"}) == 2


def test_affinity_counts_below_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1})
    assert cores(tmp_path, "0::/", V2, {"cpu.max": "400000 100000"}) == 1


def test_machine_without_control_groups_has_its_affinity(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == 8
