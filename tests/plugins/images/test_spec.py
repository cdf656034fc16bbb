"""The datasets that bench_images provides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from image_samples import params_for

import bench_images
from benchmark.testing.datasets import check_dataset


def test_describing_a_dataset_imports_no_large_library() -> None:
    program = """
import sys, pathlib, bench_images
for spec in bench_images.bench_datasets():
    if spec.name != "folder":
        spec.describe(spec.params(), pathlib.Path("/nowhere"))
print([name for name in ("torch", "torchvision", "sklearn", "numpy", "PIL") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_plugin_provides_five_datasets() -> None:
    specs = list(bench_images.bench_datasets())
    assert [spec.name for spec in specs] == ["digits", "cifar10", "cifar100", "stl10", "folder"]
    assert all(spec.summary and spec.params() is not None for spec in specs)


def test_digits_and_folder_pass_the_conformance_checks(tree: Path, tmp_path: Path) -> None:
    specs = {spec.name: spec for spec in bench_images.bench_datasets()}
    check_dataset(specs["digits"], data_dir=tmp_path)
    check_dataset(specs["folder"], params=params_for(tree), data_dir=tmp_path)
