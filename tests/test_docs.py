"""The documentation in docs/: complete, its links work, its commands exist, and its marked examples run.

A fenced block that follows `<!-- test: run -->` is run by the default suite, one that follows `<!-- test: slow -->` by
`pytest -m slow`. The blocks of a page share one folder and one Python namespace. Pages with a slow block run as a whole
in the slow suite. The lines of a block that follows `<!-- test: output -->` must be printed by the page, except for
digits and for the order of lines.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click
import pytest

import benchmark
from benchmark.analysis.check_rows import Verdict
from benchmark.api.catalog import load_catalog
from benchmark.api.hookspecs import HOOKS
from benchmark.cli.main import main
from benchmark.errors import ExitCode
from benchmark.records.caveats import NOTES
from benchmark.records.csv_columns import NAMES, NOT_LEARNED
from benchmark.records.leaderboard import read_leaderboard
from benchmark.records.record import Record, Score

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
COMMANDS = main.list_commands(click.Context(main))


def command_of(name: str) -> click.Command:
    command = main.get_command(click.Context(main), name)
    assert command is not None, name
    return command


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    language: str
    mark: str
    """`run`, `slow`, `output`, or empty for a block that is only shown."""
    text: str

    @property
    def commands(self) -> list[str]:
        """Lines after a `$` prompt."""
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]


def blocks(page: Path) -> list[Block]:
    pattern = r"(?:<!-- test: (run|slow|output) -->\n)?```(\w+)\n(.*?)```"
    matches = re.findall(pattern, page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [Block(language=language, mark=mark, text=text) for mark, language, text in matches]


def bench_commands(page: Path) -> list[str]:
    consoles = [block for block in blocks(page) if block.language == "console"]
    return [command for block in consoles for command in block.commands if command.startswith("bench ")]


# --- complete ---------------------------------------------------------------------------------------------------------


def test_navigation_lists_every_page() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES:
        assert f": {page.relative_to(DOCS)}\n" in config, page


def test_every_hook_is_documented() -> None:
    reference, guide = text_of("reference/plugin-api.md"), text_of("how-to/plugin.md")
    for hook in HOOKS:
        assert f"`{hook}`" in reference, hook
        assert f"def {hook}():" in guide, hook


def test_every_public_name_is_documented() -> None:
    reference = text_of("reference/python-api.md") + text_of("reference/plugin-api.md")
    for name in benchmark.__all__:
        member = getattr(benchmark, name)
        in_errors = isinstance(member, type) and issubclass(member, benchmark.BenchError)
        assert name == "__version__" or in_errors or f"::: benchmark.{name}\n" in reference, name
    assert "::: benchmark.errors\n" in reference


def test_every_package_is_documented() -> None:
    for package in (ROOT / "benchmark").glob("*/__init__.py"):
        assert f"| `benchmark.{package.parent.name}` |" in text_of("explanation/design.md"), package


@pytest.mark.parametrize("module", ["executors", "images", "warp"])
def test_public_modules_are_documented(module: str) -> None:
    assert f"::: benchmark.{module}\n" in text_of("reference/plugin-api.md")


def test_every_conformance_check_is_documented() -> None:
    import benchmark.testing

    reference = text_of("reference/plugin-api.md")
    for name in benchmark.testing.__all__:
        assert not name.startswith("check_") or f"::: benchmark.testing.{name}\n" in reference, name


def test_reference_of_the_command_line_shows_every_command() -> None:
    """The page shows the help of the whole group, and each help text has an example."""
    assert ":module: benchmark.cli.main\n    :command: main\n" in text_of("reference/cli.md")
    for name in COMMANDS:
        assert f"bench {name}" in str(command_of(name).help), name


def test_every_csv_column_is_documented() -> None:
    rows = re.findall(r"^\| (`.*?) \|", text_of("reference/csv-columns.md"), flags=re.MULTILINE)
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert tuple(documented[: len(NAMES)]) == NAMES


def test_every_exit_code_is_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", text_of("reference/exit-codes.md"), flags=re.MULTILINE)
    assert [(int(code), name) for code, name in rows] == [(code.value, code.name) for code in ExitCode]


def test_every_built_in_protocol_is_documented() -> None:
    headings = re.findall(r"^### (.*)$", text_of("reference/protocols.md"), flags=re.MULTILINE)
    documented = {name for heading in headings for name in re.findall(r"`([a-z0-9_]+@\d+)`", heading)}
    assert documented == {
        entry.spec.protocol for entry in load_catalog().evaluators if entry.provider.distribution.startswith("repbench")
    }


def test_every_key_of_a_record_is_documented() -> None:
    text = text_of("reference/records.md")
    keys = {*Record.__dataclass_fields__, *Score.__dataclass_fields__} - {"folder", "stored_id"}
    for record in read_leaderboard(ROOT / "results" / "digits.jsonl"):
        for part in (record.cell, record.cost, record.provenance, record.checks):
            keys |= part.keys()
    for key in sorted(keys):
        assert re.search(rf"^\|[^|]*`{key}`", text, flags=re.MULTILINE), key


def test_every_remark_is_documented() -> None:
    text = text_of("tutorial/reading-tables.md")
    for remark in (*NOTES, NOT_LEARNED):
        assert re.search(rf"^\| `{remark}\b", text, flags=re.MULTILINE), remark


def test_every_verdict_of_check_is_documented() -> None:
    documented = re.findall(r"^\| `([a-z ]+)` \|", text_of("how-to/ci-gate.md"), flags=re.MULTILINE)
    assert tuple(documented) == get_args(Verdict)


@pytest.mark.parametrize("key", ["method", "encoder", "dataset", "evaluator", "executor"])
def test_terms_are_defined(key: str) -> None:
    assert f"\n| {key} | " in text_of("index.md")


# --- true -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_between_pages_work(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_commands_have_valid_options(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("runs", "new", "machine-a/runs", "machine-b/runs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "results").symlink_to(ROOT / "results")
    for command in bench_commands(page):
        name, *words = shlex.split(command)[1:]
        command_of(name).make_context(name, words)


def test_schedules_of_the_heads_are_as_documented() -> None:
    from bench_heads.recipes import RECIPES

    text = " ".join(text_of("reference/protocols.md").split())
    for name in ("fc1", "fc3", "conv", "mlp"):
        assert f"{RECIPES[name].published_epochs} epochs" in text, name


def test_defaults_of_protocols_are_as_documented() -> None:
    from bench_probes.params import LinearParams, NeighborsParams, RetrievalParams

    text = " ".join(text_of("reference/protocols.md").split())
    assert f"k = {', '.join(map(str, NeighborsParams().k))}." in text
    assert f"cosine / {NeighborsParams().temperature}" in text
    assert f"after {LinearParams().iterations} L-BFGS iterations" in text
    first, *others = RetrievalParams().recall_at
    assert f"`recall@k={first}`, {', '.join(f'`{k}`' for k in others)}" in text


# --- run --------------------------------------------------------------------------------------------------------------


def runnable() -> list[Any]:
    pages = [(page, {block.mark for block in blocks(page)} - {""}) for page in PAGES]
    return [
        pytest.param(page, id=str(page.relative_to(DOCS)), marks=[pytest.mark.slow] if "slow" in marks else [])
        for page, marks in pages
        if marks
    ]


@pytest.mark.parametrize("page", runnable())
def test_examples_run(page: Path, tmp_path: Path) -> None:
    """Console blocks run in a shell; Python blocks of a page run one after another in one namespace."""
    shell = f'set -e\nbench() {{ {shlex.quote(sys.executable)} -m benchmark "$@"; }}\n'
    script = []
    for block in blocks(page):
        if block.mark not in ("run", "slow"):
            continue
        if block.language == "console":
            lines = shell + "\n".join(block.commands)
            script.append(f"import subprocess; subprocess.run(['bash', '-c', {lines!r}], check=True)")
        else:
            script.append(block.text)
    (tmp_path / "page.py").write_text("\n".join(script), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=1500
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    printed = without_digits(done.stdout)
    for block in blocks(page):
        assert block.mark != "output" or without_digits(block.text) <= printed, block.text


def without_digits(text: str) -> set[str]:
    return {re.sub(r"\d", "#", line.rstrip()) for line in text.splitlines()}


@pytest.mark.slow
def test_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason='the extra docs is not installed: pip install -e ".[docs]"')
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = "".join(page.read_text(encoding="utf-8") for page in (tmp_path / "site").rglob("*.html"))
    assert not re.search(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', pages), "the site needs the network"
