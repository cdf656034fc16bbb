"""The house stands as it is drawn: who imports whom, what is light, what is installed, which examples run."""

from __future__ import annotations

import ast
import doctest
import functools
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path

import pytest

import benchmark
from benchmark.api import cells as contracts
from benchmark.api import hookspecs
from benchmark.api import recipes as contracts
from benchmark.api.catalog import PLUGIN_KINDS, load_catalog

ROOT = Path(benchmark.__file__).parent.parent
CORE = ROOT / "benchmark"
PLUGINS = ROOT / "plugins"
ROOMS = {path.stem: path for path in sorted(CORE.glob("*.py"))}
PLUGIN_FOLDERS = sorted(path.name for path in PLUGINS.iterdir() if (path / "__init__.py").is_file())
PLUGIN_FILES = sorted(path for folder in PLUGIN_FOLDERS for path in (PLUGINS / folder).rglob("*.py"))

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "chance": set(),
    "contracts": set(),
    "stats": set(),
    "differences": set(),
    "inference": {"differences"},
    "families": {"differences", "inference"},
    "warp": {"errors", "contracts"},
    "images": {"errors", "contracts"},
    "progress": {"errors", "contracts"},
    "atomic": {"errors"},
    "devices": {"errors"},
    "grammar": {"errors"},
    "parameters": {"errors", "grammar"},
    "hookspecs": {"contracts"},
    "catalog": {"errors", "contracts", "hookspecs"},
    "encoder": {"errors", "contracts", "chance"},
    "records": {"errors", "contracts", "atomic"},
    "claims": {"errors", "contracts", "atomic", "progress"},
    "parcels": {"errors", "atomic", "records"},
    "jobs": {"errors", "contracts"},
    "plan": {"errors", "contracts", "catalog", "grammar", "parameters"},
    "feed": set(),
    "losses": {"errors", "contracts"},
    "acceleration": {"contracts"},
    "checkpoints": {"atomic"},
    "train": {
        *("errors", "contracts", "images", "encoder", "chance", "progress", "atomic"),
        *("feed", "losses", "acceleration", "checkpoints"),
    },
    "audits": {"errors", "contracts", "atomic", "evaluate", "images"},
    "memory": {"encoder", "feed", "progress", "train"},
    "features": {"errors", "contracts", "images", "encoder", "chance", "progress", "atomic"},
    "evaluate": {"errors", "contracts", "images", "encoder", "chance", "progress", "atomic"},
    "marks": {"contracts"},
    "columns": {"errors", "contracts", "marks", "records"},
    "index": {"errors", "atomic", "columns", "records"},
    "sheets": {"columns", "marks"},
    "tables": {"columns", "marks", "records", "sheets"},
    "ties": {"columns", "errors", "export", "families", "inference", "records", "sheets", "tables"},
    "depth": {"catalog", "columns", "errors", "marks", "parameters", "records", "sheets", "tables"},
    "bibliography": {"catalog", "errors", "records"},
    "editions": {"atomic", "bibliography", "catalog", "errors", "export", "formats", "records", "tables", "ties"},
    "merge": {"claims", "errors", "parcels", "records", "tables"},
    "concordance": set(),
    "correlate": {"catalog", "columns", "concordance", "errors", "export", "index", "tables"},
    "frontier": {"columns", "marks", "records", "sheets", "tables"},
    "figures": {"errors", "contracts", "catalog", "grammar", "parameters", "plan", "records", "stats"},
    "expected": {"errors", "catalog", "figures", "records", "stats", "tables"},
    "formats": {"tables"},
    "pictures": {"errors", "atomic"},
    "baselines": {"compare", "errors", "records", "sides"},
    "check": {
        *("baselines", "compare", "differences", "errors", "export", "families", "inference", "records", "sides"),
    },
    "verdicts": {"check", "errors", "formats", "tables"},
    "export": {"errors", "atomic", "records", "tables"},
    "provenance": {"__init__", "contracts", "catalog"},
    "runner": {
        *("errors", "contracts", "plan", "catalog", "columns", "index", "records", "progress", "parameters"),
        "claims",
    },
    "estimates": {"contracts", "columns", "runner"},
    "listing": {"catalog", "estimates", "figures", "parameters", "plan", "runner"},
    "runfiles": {"errors", "atomic", "claims", "index"},
    "status": {"claims", "columns", "contracts", "estimates", "index", "progress", "records", "runfiles", "tables"},
    "explain": {"records", "tables"},
    "sides": {"errors", "export", "records"},
    "compare": {"differences", "errors", "families", "inference", "records", "sides"},
    "answers": {"compare", "tables"},
    "summary": {"contracts", "errors", "plan", "records", "runner", "tables"},
    "__init__": {"contracts", "errors", "hookspecs", "cell", "encoder"},
    "__main__": {"cli"},
}
"""Room -> the rooms that it may import, at the top or inside a function."""
FORBIDDEN: dict[str, set[str]] = {
    "cell": {"runner", "cli", "session", "listing", "tables", "export"},
    "vectors": {"runner", "cli", "session", "listing", "tables", "export"},
    "neighbors": {"runner", "cli", "session", "listing", "tables", "formats", "export", "maps"},
    "maps": {"runner", "cli", "session", "listing", "tables", "formats", "export", "neighbors"},
    "similarity": {"runner", "cli", "session", "listing", "export"},
    "verify": {"runner", "cli", "session", "listing"},
    "session": {"cli"},
    "reference": {"runner", "cli", "session", "tables", "cell", "train"},
    "meters": {"runner", "cli", "session", "tables", "cell", "train"},
    "trials": {"runner", "cli", "session", "tables"},
    "speed": {"runner", "cli", "session", "tables"},
    "speedbook": {"runner", "cli", "session", "speed", "pace"},
    "pace": {"runner", "cli", "session", "tables"},
    "testing": {"cli"},
    "cli": set(),
}
"""Of rooms that bring others together: those that they may not import."""
ONLY_FOR_TYPES: dict[str, set[str]] = {
    "contracts": {"progress"},
    "__init__": {"encoder"},
    "cli": {"columns", "plan", "records", "tables", "vectors"},
    "listing": {"session"},
    "speedbook": {"trials"},
}
"""Room -> the rooms that it may import under TYPE_CHECKING alone."""
TORCH = {
    "memory",
    "audits",
    "checkpoints",
    "meters",
    "reference",
    "trials",
    "speed",
    "pace",
    "feed",
    "losses",
    "acceleration",
    "images",
    "warp",
    "encoder",
    "train",
    "features",
    "evaluate",
    "testing",
    "cell",
    "provenance",
    "vectors",
}
"""Rooms that may import torch at the top; nowhere else, so that `bench list` answers at once."""
HEAVY = ("torch", "torchvision", "faiss", "sklearn", "safetensors", "scipy", "pandas", "ray", "submitit")


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported module, or name of a module."""

    module: str
    name: str = ""
    """What was taken from the module; empty for `import module`."""
    lazy: bool
    """Inside a function."""
    for_types: bool
    """Under TYPE_CHECKING."""

    @property
    def top(self) -> str:
        """The distribution's package."""
        return self.module.partition(".")[0]


@functools.cache
def _imports(path: Path) -> tuple[Import, ...]:
    return tuple(_walk(ast.parse(path.read_text(encoding="utf-8")), lazy=False, for_types=False))


def _walk(node: ast.AST, *, lazy: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(module=alias.name, lazy=lazy, for_types=for_types)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            for alias in child.names:
                yield Import(module=child.module or "", name=alias.name, lazy=lazy, for_types=for_types)
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for statement in child.body:
                yield from _walk(ast.Module([statement], []), lazy=lazy, for_types=True)
            for statement in child.orelse:
                yield from _walk(ast.Module([statement], []), lazy=lazy, for_types=for_types)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, lazy=lazy or inside, for_types=for_types)


def _room(found: Import) -> str | None:
    """The room that an import means, `__init__` for the public face, None for what is not of the core."""
    if found.top != "benchmark":
        return None
    inner = found.module.partition(".")[2]
    return inner or (found.name if found.name in ROOMS else "__init__")


# --- who imports whom -------------------------------------------------------------------------------------------------


def test_every_room_is_on_the_map_and_the_map_knows_no_other() -> None:
    assert set(ALLOWED) | set(FORBIDDEN) == set(ROOMS)
    assert not set(ALLOWED) & set(FORBIDDEN)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    found = {_room(each) for each in _imports(ROOMS[room]) if not each.for_types} - {None}
    taken = found & FORBIDDEN[room] if room in FORBIDDEN else found - ALLOWED[room]
    assert not taken, f"benchmark/{room}.py imports {sorted(map(str, taken))}: see the map in {Path(__file__).name}"


@pytest.mark.parametrize("room", ROOMS)
def test_imports_for_types_go_no_further_than_the_map(room: str) -> None:
    found = {_room(each) for each in _imports(ROOMS[room]) if each.for_types} - {None}
    assert found <= ALLOWED.get(room, set()) | ONLY_FOR_TYPES.get(room, set())


def test_the_rooms_have_no_circle() -> None:
    edges = {
        room: {
            found
            for each in _imports(path)
            if not each.for_types and not each.lazy and (found := _room(each)) not in (None, "__init__")
        }
        for room, path in ROOMS.items()
        if room != "__init__"
    }
    while edges:
        free = [room for room, below in edges.items() if not below & set(edges)]
        assert free, f"these import each other: {sorted(edges)}"
        for room in free:
            del edges[room]


def test_the_core_knows_no_plugin() -> None:
    for room, path in ROOMS.items():
        plugins = [each.module for each in _imports(path) if each.top.startswith("bench_") or each.top == "plugins"]
        assert not plugins, f"benchmark/{room}.py imports {plugins}"


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_plugin_imports_the_public_rooms_and_itself(path: Path) -> None:
    own = path.relative_to(PLUGINS).parts[0]
    public = {"__init__", "images", "warp"}
    for each in _imports(path):
        if each.top.startswith("bench_"):
            assert each.top == own, f"{own} imports another plugin: {each.module}"
        assert each.top != "plugins", "plugins/ is a source root"
        room = _room(each)
        if room is None or room in public:
            continue
        executor = own == "bench_executors" and (
            room in ("progress", "claims", "parcels", "jobs") or (room == "cell" and each.lazy)
        )
        assert executor, f"{path.name} imports benchmark.{room}; public are benchmark, benchmark.images, benchmark.warp"


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_plugin_uses_public_names_of_the_core(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "benchmark"
    }
    used |= {each.name for each in _imports(path) if each.module == "benchmark" and each.name}
    assert used <= {*benchmark.__all__, "images", "warp"}


def test_the_public_face_holds_what_it_promises() -> None:
    assert sorted(benchmark.__all__) == list(benchmark.__all__)
    assert all(hasattr(benchmark, name) for name in benchmark.__all__)


def test_no_room_has_a_name_that_says_nothing() -> None:
    bad = {"utils", "util", "common", "base", "manager", "helpers", "misc"}
    names = {path.stem for path in PLUGIN_FILES} | set(ROOMS)
    assert not names & bad
    assert "plugins" not in ROOMS
    assert not (PLUGINS / "__init__.py").exists(), "plugins/ is a source root, no package"


@pytest.mark.parametrize("path", [*ROOMS.values(), *PLUGIN_FILES], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_file_says_in_its_first_line_what_is_here(path: Path) -> None:
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert words
    assert words[0].isupper() or not words[0].isalpha() or words.startswith("repbench")


# --- what is light ----------------------------------------------------------------------------------------------------


def _at_the_top(path: Path) -> set[str]:
    return {each.top for each in _imports(path) if not each.lazy and not each.for_types}


def test_torch_is_imported_at_the_top_only_where_tensors_are() -> None:
    assert {room for room, path in ROOMS.items() if "torch" in _at_the_top(path)} == TORCH


def test_pandas_rich_and_click_have_one_place_each() -> None:
    users: dict[str, set[str]] = {"pandas": set(), "rich": set(), "click": set(), "tabulate": set()}
    for room, path in ROOMS.items():
        for each in _imports(path):
            if each.top in users and not (room == "cli" and each.top == "rich" and each.lazy):
                users[each.top].add(room)
    assert users == {"pandas": {"tables"}, "rich": {"progress", "formats"}, "click": {"cli"}, "tabulate": {"formats"}}


@pytest.mark.parametrize("plugin", PLUGIN_FOLDERS)
def test_a_plugin_imports_nothing_heavy_to_say_what_it_gives(plugin: str) -> None:
    assert not _at_the_top(PLUGINS / plugin / "__init__.py") & set(HEAVY)


def _heavy_after(*statements: str) -> list[str]:
    """The heavy modules that a fresh Python holds after these statements."""
    script = "; ".join(["import sys", *statements, f"print([name for name in {HEAVY!r} if name in sys.modules])"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return found


def test_what_is_heavy_would_be_seen() -> None:
    assert "safetensors" in _heavy_after("import safetensors")


def test_help_listing_and_planning_import_nothing_heavy() -> None:
    assert (
        _heavy_after(
            "import benchmark.cli.main",
            "from benchmark.api.catalog import load_catalog",
            "catalog = load_catalog()",
            "assert catalog.methods and not catalog.broken, catalog.broken",
            "from benchmark.listing import listed",
            "assert listed(catalog, verbose=True)",
            "from benchmark.execution.plan import plan; from benchmark.execution.request import Request",
            "from benchmark.grammar import parse_items as items",
            "every, digits = items(['*']), items(['digits'])",
            "request = Request(methods=every, encoders=every, datasets=digits, evaluators=every)",
            "assert len(plan(request, catalog).cells) > 10",
        )
        == []
    )


def test_importing_every_plugin_imports_nothing_heavy() -> None:
    assert _heavy_after(*(f"import {plugin}" for plugin in PLUGIN_FOLDERS)) == []


# --- what is installed ------------------------------------------------------------------------------------------------


def test_plugin_folders_pyproject_and_installed_metadata_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    written = project["entry-points"][hookspecs.PROJECT]
    installed = {
        point.name: point.value
        for point in distribution(project["name"]).entry_points
        if point.group == hookspecs.PROJECT
    }
    assert sorted(written.values()) == PLUGIN_FOLDERS, (
        "each folder in plugins/ wants one line under [project.entry-points.bench] in pyproject.toml, and each line a folder"
    )
    assert written == {folder.removeprefix("bench_"): folder for folder in PLUGIN_FOLDERS}
    assert installed == written, (
        "pyproject.toml and the installed metadata differ, because entry points are read when a package is installed: "
        "run pip install -e . again"
    )


def test_the_version_is_written_once_and_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert benchmark.__version__ == project["version"]


def test_every_installed_plugin_of_ours_loads_and_gives_something() -> None:
    catalog = load_catalog()
    ours = {provider.plugin for provider in catalog.plugins if provider.distribution == "repbench"}
    assert {f"bench_{name}" for name in ours} == set(PLUGIN_FOLDERS)
    givers = {entry.provider.plugin for kind in PLUGIN_KINDS for entry in getattr(catalog, kind)}
    assert ours <= givers


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_hooks_kinds_and_their_types_are_the_same_list() -> None:
    specifications = {name for name in vars(hookspecs) if name.startswith("bench_")}
    assert set(hookspecs.HOOKS) == specifications == {f"bench_{kind}" for kind in PLUGIN_KINDS}


@pytest.mark.parametrize("hook", hookspecs.HOOKS)
def test_every_hook_has_an_installed_implementation_and_yields_its_type(hook: str) -> None:
    implementations = [
        function for plugin in PLUGIN_FOLDERS if (function := getattr(import_module(plugin), hook, None)) is not None
    ]
    specs = [spec for function in implementations for spec in function()]
    assert specs
    assert all(isinstance(spec, hookspecs.HOOKS[hook]) for spec in specs)


def _examples(module: object, name: str) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(recurse=False)
    return [test for test in finder.find(getattr(module, name), name, module) if test.examples]  # type: ignore[arg-type]  # a module


@pytest.mark.parametrize("hook", hookspecs.HOOKS)
def test_the_example_in_a_hooks_docstring_runs(hook: str) -> None:
    (example,) = _examples(hookspecs, hook)
    results = doctest.DocTestRunner().run(example)
    assert results.attempted >= 3
    assert results.failed == 0


def test_the_examples_in_the_contracts_run() -> None:
    found = [test for test in doctest.DocTestFinder().find(contracts) if test.examples]
    assert "benchmark.api.methods.MethodSpec" in {test.name for test in found}
    for example in found:
        assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("spec", [*hookspecs.HOOKS.values(), contracts.Recipe, contracts.Item, contracts.Cell])
def test_public_values_are_frozen_and_named_by_keyword(spec: type) -> None:
    parameters = spec.__dataclass_params__  # type: ignore[attr-defined]  # a dataclass
    assert parameters.frozen
    assert all(field.kw_only for field in spec.__dataclass_fields__.values())  # type: ignore[attr-defined]  # a dataclass
