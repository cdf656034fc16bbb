"""docs/how-to/plugin.md: its files are written out, imported and checked."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.testing import check_dataset, check_encoder, check_evaluator, check_method
from benchmark.testing.miniature import SMALL_ENCODER

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "how-to" / "plugin.md").read_text(encoding="utf-8")
FILES = {
    match[1]: match[0] for match in re.finditer(r"(?<=```python\n)# (\S+\.py)\n.*?(?=```)", GUIDE, flags=re.DOTALL)
}


@pytest.fixture
def bench_mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("bench_mine")
    for name in [name for name in sys.modules if name.startswith("bench_mine")]:
        del sys.modules[name]


def test_guide_shows_every_file_of_its_plugin() -> None:
    package = {name.removeprefix("bench_mine/") for name in FILES if name.startswith("bench_mine/")}
    assert package == {"__init__.py", "method.py", "network.py", "nearest_mean.py"}


@pytest.mark.parametrize(
    ("hook", "check"),
    [
        ("bench_methods", check_method),
        ("bench_encoders", check_encoder),
        ("bench_evaluators", check_evaluator),
        ("bench_datasets", check_dataset),
    ],
)
def test_guide_plugin_keeps_the_contract(bench_mine: Any, hook: str, check: Callable[[Any], object]) -> None:
    (spec,) = getattr(bench_mine, hook)()
    check(spec)


def test_guide_test_file_names_every_hook(bench_mine: Any, tmp_path: Path) -> None:
    source = importlib.util.spec_from_file_location("bench_mine_test", tmp_path / "tests" / "test_bench_mine.py")
    assert source is not None
    assert source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    (mark,) = module.test_specs_keep_the_contract.pytestmark
    hooks = {hook.__name__ for hook, _ in mark.args[1]}
    assert hooks == {name for name in vars(bench_mine) if name.startswith("bench_")} - {"bench_mine"}


@pytest.mark.parametrize("document", ["docs/how-to/plugin.md", "plugins/README.md"])
def test_plugin_folders_named_in_documents_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for name in re.findall(r"\bplugins/(bench_[a-z]+)`", text) + re.findall(
        r"^\| `(bench_[a-z]+)`", text, re.MULTILINE
    ):
        assert (ROOT / "plugins" / name / "__init__.py").is_file(), name


def test_plugins_readme_lists_every_built_in_plugin() -> None:
    text = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")
    for folder in (ROOT / "plugins").glob("bench_*"):
        assert f"`{folder.name}`" in text, folder.name


def test_guide_method_learns_the_shift(bench_mine: Any) -> None:
    import torch

    import benchmark
    from benchmark.encoder import build_encoder

    shape = (3, 16, 16)
    encoder = build_encoder(SMALL_ENCODER, None, shape, num_images=32, seed=0, mean=[0.4] * 3, std=[0.3] * 3)
    strips = importlib.import_module("bench_mine.method").Strips
    torch.manual_seed(0)
    method = strips(encoder, encoder.layout, 2)
    half = torch.zeros(32, *shape)
    half[:, :, :8] = 1.0
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    batch = benchmark.Batch(images=half, raw=half.byte(), index=torch.arange(32), progress=0.0, generator=generator)
    for _ in range(40):
        total = method.loss(batch).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert total.item() < 0.5 * method.trivial_losses()["total"]
