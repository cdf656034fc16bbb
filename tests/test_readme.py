"""What README and CONTRIBUTING say is true: the commands exist, the plugin works, the links lead somewhere."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmark.api.catalog import load_catalog
from benchmark.cli.main import main
from benchmark.testing.methods import check_method

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    lines = re.findall(r"^    (.*\bbench .*)$", README, flags=re.MULTILINE)
    found = [command for line in lines for command in re.findall(r"bench (?:run|plan|list|table|features)[^#&]*", line)]
    return [command.strip() for command in found]


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith(("bench run", "bench plan"))])
def test_every_run_in_the_readme_can_be_planned(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            (folder / "a.png").write_bytes(b"not decoded by a plan")
    (tmp_path / "weights.safetensors").write_bytes(b"hashed only")
    words = [word for word in shlex.split(command)[2:] if not word.startswith("cuda")]
    words = [word for word in words if word != "--device"]
    result = CliRunner().invoke(main, ["plan", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "to run" in result.output


def test_the_main_command_stands_in_the_readme_as_promised() -> None:
    first = 'pip install -e ".[test]" && bench run --methods dim,aet --encoders resnet18,blocknet\n    pytest\n'
    assert first in README


def test_the_plugin_of_the_readme_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "bench_mean"
    package.mkdir()
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    hook = next(block for block in blocks if "hookimpl" in block)
    method = next(block for block in blocks if "class Mean" in block)
    (package / "__init__.py").write_text(hook)
    (package / "method.py").write_text(method)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = importlib.import_module("bench_mean")
    (spec,) = plugin.bench_methods()
    check_method(spec)
    for name in ("bench_mean", "bench_mean.method"):
        sys.modules.pop(name)
    assert sum(len(block.splitlines()) for block in (hook, method)) <= 45


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), f"{document} links to {target}"


def test_the_readme_names_every_method_dataset_and_command() -> None:
    catalog = load_catalog()
    for entry in (*catalog.datasets, *catalog.evaluators):
        assert entry.spec.name in README, entry.spec.name
    for name in main.commands:
        assert f"bench {name}" in README, f"bench {name}"


def test_contributing_shows_every_room() -> None:
    picture = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for room in (ROOT / "benchmark").glob("*.py"):
        if room.stem != "__main__":
            assert f"`{room.stem}`" in picture, f"{room.name} is missing from CONTRIBUTING.md"
