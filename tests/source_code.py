"""The source code as data: files, imports, names and lengths of functions."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import benchmark

ROOT = Path(benchmark.__file__).parent.parent
CORE_FILES = sorted((ROOT / "benchmark").rglob("*.py"))
PLUGIN_FILES = sorted((ROOT / "plugins").rglob("*.py"))
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))
PLUGINS = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py"))


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported module of a file."""

    module: str
    """Full name; for `from benchmark.api import cells`, `benchmark.api.cells`."""
    name: str = ""
    """What is taken from the module; empty if the whole module is imported."""
    lazy: bool
    """Inside a function."""
    for_types: bool
    """Under TYPE_CHECKING."""

    @property
    def library(self) -> str:
        """The top-level package."""
        return self.module.partition(".")[0]


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports_of(path: Path) -> tuple[Import, ...]:
    return tuple(walk_imports(tree_of(path), lazy=False, for_types=False))


def walk_imports(node: ast.AST, *, lazy: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        types = for_types or (
            isinstance(node, ast.If) and child in node.body and "TYPE_CHECKING" in ast.dump(node.test)
        )
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(module=alias.name, lazy=lazy, for_types=types)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                is_module = full in MODULES
                module = full if is_module else str(child.module)
                yield Import(module=module, name="" if is_module else alias.name, lazy=lazy, for_types=types)
        else:
            yield from walk_imports(child, lazy=inside, for_types=types)


def module_name(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("")
    return ".".join(relative.parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in CORE_FILES}


def package_of(module: str) -> str:
    """`api` for benchmark.api.cells, `benchmark` for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def core_imports(path: Path) -> list[Import]:
    return [each for each in imports_of(path) if each.library == "benchmark"]


def files_of(package: str) -> list[Path]:
    return [path for module, path in MODULES.items() if package_of(module) == package]


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is not None:
        length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
    return length


def bound_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that a file binds, with its line: variables, arguments, fields, functions, classes, aliases."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, node.lineno


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: object = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False
