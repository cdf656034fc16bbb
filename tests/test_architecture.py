"""The architecture: who imports whom, what stays light, sizes, names, and what is installed."""

from __future__ import annotations

import ast
import doctest
import itertools
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import distribution

import pytest
from source_code import (
    CORE_FILES,
    MODULES,
    PLUGIN_FILES,
    PLUGINS,
    ROOT,
    TEST_FILES,
    bound_names,
    core_imports,
    files_of,
    function_lines,
    imports_of,
    module_name,
    package_of,
    resolves,
    tree_of,
)

import benchmark
from benchmark.api import cells, hookspecs, identity, methods, recipes
from benchmark.api.catalog import PLUGIN_KINDS, load_catalog

LEAVES = {"cores", "errors", "plain_text", "seeding", "progress", "standard_streams", "stats", "working_directory"}
RECORDS = LEAVES | {"api", "records"}
TENSORS = {"images", "warp", "encoder"}
CELLS = RECORDS | TENSORS | {"training", "evaluation"}
ALLOWED: dict[str, set[str]] = {
    **{leaf: set() for leaf in LEAVES},
    **{leaf: {"plain_text"} for leaf in ("errors", "progress")},
    "api": LEAVES,
    "records": LEAVES | {"api"},
    "reports": RECORDS,
    **{module: LEAVES | TENSORS | {"api"} for module in TENSORS},
    "training": RECORDS | TENSORS,
    "evaluation": RECORDS | TENSORS,
    "analysis": (CELLS - {"training"}) | {"reports"},
    "execution": CELLS | {"reports", "benchmark"},
    "speed": CELLS | {"reports", "execution"},
    "executors": CELLS | {"execution"},
    "testing": CELLS | {"reports", "execution", "analysis", "speed"},
    "results": CELLS | {"reports", "execution", "analysis"},
    "benchmark": LEAVES | {"api", "encoder", "evaluation", "results"},
    "cli": CELLS | {"reports", "execution", "analysis", "speed", "results", "benchmark"},
    "__main__": {"cli"},
}
"""Package or top-level module -> what it may import, at any depth. `benchmark` is the package's `__init__.py`."""
MODULE_EXCEPTIONS = {"benchmark.execution.verify": {"analysis"}}
"""Modules that may import more than their package."""
PLUGIN_API = {
    "benchmark",
    "benchmark.cores",
    "benchmark.images",
    "benchmark.warp",
    "benchmark.encoder",
    "benchmark.progress",
}
EXECUTOR_API = {"benchmark", "benchmark.cores", "benchmark.executors", "benchmark.progress"}
ONLY_IN = {
    "click": {"cli"},
    "rich": {"cli", "progress", "benchmark.reports.render", "benchmark.reports.terminal"},
    "pandas": {"records", "reports", "analysis", "execution", "speed", "results"},
    "tabulate": {"reports"},
}
"""Library -> the packages or modules that may import it."""
WITHOUT_TORCH = {"benchmark", "api", "records", "reports", "cli", "results", *LEAVES}
"""Packages that import no torch when they are imported."""
HEAVY = ("torch", "torchvision", "faiss", "sklearn", "safetensors", "scipy", "pandas", "ray", "submitit")
FORBIDDEN_NAMES = {
    *("found", "told", "given", "look", "wrong", "alone", "wanted", "asked", "place", "room"),
    *("errand", "standing", "brief", "sheet", "dull", "learnt", "sign", "claim"),
}
FORBIDDEN_MODULES = {"utils", "util", "common", "base", "manager", "helpers", "misc", "plugins"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50


# --- imports ----------------------------------------------------------------------------------------------------------


def test_every_package_has_a_rule() -> None:
    assert {package_of(module) for module in MODULES} <= set(ALLOWED)


@pytest.mark.parametrize("package", sorted({package_of(module) for module in MODULES}))
def test_package_imports_only_what_its_rule_allows(package: str) -> None:
    for path in files_of(package):
        allowed = ALLOWED[package] | {package} | MODULE_EXCEPTIONS.get(module_name(path), set())
        for each in core_imports(path):
            # Annotations may name a type of a package above.
            assert each.for_types or package_of(each.module) in allowed, f"{module_name(path)} imports {each.module}"


def test_core_imports_no_plugin() -> None:
    for path in CORE_FILES:
        plugins = [each.module for each in imports_of(path) if each.library.startswith("bench_")]
        assert not plugins, f"{module_name(path)} imports {plugins}"


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugin_imports_only_the_public_api(plugin: str) -> None:
    public = EXECUTOR_API if plugin == "bench_executors" else PLUGIN_API
    for path in (ROOT / "plugins" / plugin).rglob("*.py"):
        for each in imports_of(path):
            assert not each.library.startswith("bench_") or each.library == plugin, f"{path} imports {each.module}"
            assert each.library != "plugins", f"{path} imports plugins, which is a source root and no package"
            assert each.library != "benchmark" or each.module in public, f"{path} imports {each.module}"
            if each.module == "benchmark" and each.name:
                assert each.name in benchmark.__all__, f"{path} imports {each.name}, which is not public"


def test_modules_have_no_import_cycle() -> None:
    below = {
        module: {each.module for each in core_imports(path) if not each.for_types and not each.lazy} - {module}
        for module, path in MODULES.items()
    }
    while below:
        ready = [module for module, imported in below.items() if not imported & set(below)]
        assert ready, f"these modules import each other: {sorted(below)}"
        for module in ready:
            del below[module]


def test_no_file_imports_a_private_name() -> None:
    private = [
        f"{path.relative_to(ROOT)}: {each.module} {each.name}"
        for path in CORE_FILES + PLUGIN_FILES + TEST_FILES
        for each in imports_of(path)
        if each.library in ("benchmark", *PLUGINS)
        for part in (*each.module.split("."), each.name)
        if part.startswith("_") and not part.startswith("__")
    ]
    assert not private, "\n".join(private)


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_library_is_imported_only_in_its_packages(library: str) -> None:
    users = [module for module, path in MODULES.items() if library in {each.library for each in imports_of(path)}]
    assert users
    assert [module for module in users if not {module, package_of(module)} & ONLY_IN[library]] == []


def test_torch_is_imported_only_where_tensors_are() -> None:
    for module, path in MODULES.items():
        eager = {each.library for each in imports_of(path) if not each.lazy and not each.for_types}
        assert "torch" not in eager or package_of(module) not in WITHOUT_TORCH, f"{module} imports torch"


def heavy_modules_after(*statements: str) -> set[str]:
    """The heavy libraries that a new Python process has imported after these statements."""
    script = "\n".join(["import sys", *statements, f"print([name for name in {HEAVY!r} if name in sys.modules])"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(ast.literal_eval(done.stdout.splitlines()[-1]))


def test_heavy_imports_are_detected() -> None:
    assert "safetensors" in heavy_modules_after("import safetensors")


@pytest.mark.parametrize(
    ("command", "allowed"),
    [
        ("--help", set()),
        ("list -v", set()),
        ("plan --methods * --encoders * --datasets digits --evaluators *", set()),
        (f"table {ROOT}/results/digits.jsonl", {"scipy", "pandas"}),
    ],
)
def test_command_imports_no_heavy_library(command: str, allowed: set[str]) -> None:
    heavy = heavy_modules_after(
        "from click.testing import CliRunner",
        "from benchmark.cli.main import main",
        f"result = CliRunner().invoke(main, {command.split()!r})",
        "assert result.exit_code == 0 and result.output, result.output",
    )
    assert heavy <= allowed


def test_importing_all_plugins_imports_no_heavy_library() -> None:
    assert heavy_modules_after(*(f"import {plugin}" for plugin in PLUGINS)) == set()


# --- sizes and names --------------------------------------------------------------------------------------------------


def test_files_are_short() -> None:
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in CORE_FILES + PLUGIN_FILES + TEST_FILES}
    long = {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > MAX_FILE_LINES}
    assert not long


def test_functions_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {function_lines(node)} lines"
        for path in CORE_FILES + PLUGIN_FILES + TEST_FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and function_lines(node) > MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_names_say_what_they_hold() -> None:
    vague = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in CORE_FILES + PLUGIN_FILES
        for name, line in bound_names(tree_of(path))
        if name.strip("_").lower() in FORBIDDEN_NAMES
    ]
    assert not vague, "\n".join(vague)


def test_module_names_say_what_they_hold() -> None:
    assert not {path.stem for path in CORE_FILES + PLUGIN_FILES} & FORBIDDEN_MODULES
    assert not {path.parent.name for path in CORE_FILES} & FORBIDDEN_MODULES
    assert not (ROOT / "plugins" / "__init__.py").exists(), "plugins/ is a source root and no package"


def test_dotted_names_in_strings_exist() -> None:
    """A module that is named in a string, such as the fork server's preload list, is invisible to import checkers."""
    named = {
        (match, module_name(path))
        for path in CORE_FILES + PLUGIN_FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for match in re.findall(r"(?<![\w./-])(?:benchmark|bench_[a-z]+)(?:\.[A-Za-z_]\w*)+", node.value)
        if not match.startswith("bench_mine")
    }
    assert named
    assert [f"{module}: {name}" for name, module in sorted(named) if not resolves(name)] == []


# --- what is installed ------------------------------------------------------------------------------------------------


def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def test_plugin_folders_match_pyproject_and_installed_metadata() -> None:
    written = project()["entry-points"][hookspecs.PROJECT]  # type: ignore[index]  # TOML
    installed = {
        point.name: point.value for point in distribution("repbench").entry_points if point.group == hookspecs.PROJECT
    }
    assert written == {folder.removeprefix("bench_"): folder for folder in PLUGINS}, (
        "each folder of plugins/ needs one line under [project.entry-points.bench] in pyproject.toml"
    )
    assert installed == written, "entry points are read when a package is installed: run pip install -e . again"


def test_version_and_types_are_part_of_the_package() -> None:
    assert benchmark.__version__ == project()["version"] == distribution("repbench").version
    assert (ROOT / "benchmark" / "py.typed").is_file()
    assert resolves(project()["scripts"]["bench"].replace(":", "."))  # type: ignore[index]  # TOML


def test_every_built_in_plugin_loads_and_provides_something() -> None:
    catalog = load_catalog()
    built_in = {provider.plugin for provider in catalog.plugins if provider.distribution == "repbench"}
    assert {f"bench_{name}" for name in built_in} == set(PLUGINS)
    assert built_in <= {entry.provider.plugin for kind in PLUGIN_KINDS for entry in getattr(catalog, kind)}


# --- the public API ---------------------------------------------------------------------------------------------------


def test_public_names_exist_and_are_sorted() -> None:
    assert sorted(benchmark.__all__) == list(benchmark.__all__)
    assert all(hasattr(benchmark, name) for name in benchmark.__all__)


def test_hooks_match_plugin_kinds() -> None:
    specifications = {name for name in vars(hookspecs) if name.startswith("bench_")}
    assert set(hookspecs.HOOKS) == specifications == {f"bench_{kind}" for kind in PLUGIN_KINDS}


@pytest.mark.parametrize("hook", hookspecs.HOOKS)
def test_hook_yields_its_type_and_its_example_runs(hook: str) -> None:
    functions = [getattr(import_module(plugin), hook, None) for plugin in PLUGINS]
    specs = [spec for function in functions if function is not None for spec in function()]
    assert specs
    assert all(isinstance(spec, hookspecs.HOOKS[hook]) for spec in specs)
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(hookspecs, hook), hook, hookspecs)
    results = doctest.DocTestRunner().run(example)
    assert (results.attempted >= 3, results.failed) == (True, 0)


@pytest.mark.parametrize("module", [methods, identity])
def test_examples_in_docstrings_run(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]  # a module
    assert (results.attempted > 0, results.failed) == (True, 0)


def test_every_field_of_the_plugin_api_has_a_docstring() -> None:
    undocumented = [
        f"{path.name}: {node.name}.{ast.unparse(field.target)}"
        for path in files_of("api")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
        for field, following in itertools.zip_longest(node.body, node.body[1:])
        if isinstance(field, ast.AnnAssign)
        if not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant))
    ]
    assert undocumented == []


@pytest.mark.parametrize("spec", [*hookspecs.HOOKS.values(), recipes.Recipe, cells.Item, cells.Cell])
def test_public_values_are_frozen_and_keyword_only(spec: type) -> None:
    assert spec.__dataclass_params__.frozen  # type: ignore[attr-defined]  # a dataclass
    assert all(field.kw_only for field in spec.__dataclass_fields__.values())  # type: ignore[attr-defined]  # a dataclass
