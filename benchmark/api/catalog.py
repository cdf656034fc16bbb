"""Which plugins are installed, and what each gives: found, blocked, loaded and checked, one by one.

The catalog is a value: it is built by `load_catalog` and handed on. A plugin that cannot be loaded is kept in it with
the reason, and costs nobody else anything. Two plugins that give the same name are kept both.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, get_args

import pluggy

from benchmark.api import hookspecs
from benchmark.api.datasets import DatasetSpec
from benchmark.api.encoders import EncoderSpec, Pool
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.api.executors import ExecutorSpec
from benchmark.api.hookspecs import Spec
from benchmark.api.methods import MethodSpec, Published
from benchmark.errors import PluginError, UnknownNameError, UsageError

SpecT = TypeVar("SpecT", bound=Spec)
PluginKind = str
PLUGIN_KINDS = ("methods", "encoders", "datasets", "evaluators", "executors")


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Where a plugin comes from."""

    plugin: str
    """Name of its entry point."""
    distribution: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Entry(Generic[SpecT]):
    """A spec with its provider."""

    spec: SpecT
    provider: Provider


@dataclass(frozen=True, kw_only=True)
class BrokenPlugin:
    """A plugin, or one thing that it gave, which could not be used."""

    provider: Provider
    reason: str
    """One line."""
    traceback: str = ""


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Everything that is installed."""

    methods: tuple[Entry[MethodSpec], ...] = ()
    encoders: tuple[Entry[EncoderSpec], ...] = ()
    datasets: tuple[Entry[DatasetSpec], ...] = ()
    evaluators: tuple[Entry[EvaluatorSpec], ...] = ()
    executors: tuple[Entry[ExecutorSpec], ...] = ()
    plugins: tuple[Provider, ...] = ()
    """Those that loaded."""
    broken: tuple[BrokenPlugin, ...] = ()
    blocked: tuple[str, ...] = ()
    """Names kept out by BENCH_PLUGINS."""

    def find(self, entries: Sequence[Entry[SpecT]], kind: str, name: str) -> Entry[SpecT]:
        """The one entry of that name, or of `distribution:name`.

        Raises:
            UnknownNameError: nothing of that name; broken plugins are mentioned.
            UsageError: two providers give it.
        """
        distribution, colon, bare = name.rpartition(":")
        found = [e for e in entries if e.spec.name == bare and (not colon or e.provider.distribution == distribution)]
        if not found:
            raise UnknownNameError(kind, name, {e.spec.name for e in entries}, self._hint())
        if len(found) > 1:
            raise UsageError(f"{kind} '{name}' is given by {_ways_out(bare, [e.provider for e in found])}")
        return found[0]

    def match(self, entries: Sequence[Entry[SpecT]], kind: str, pattern: str) -> list[Entry[SpecT]]:
        """The entries that a name or glob means, in catalog order; either may begin with `distribution:`.

        Raises like `find`; a glob must match something.
        """
        if not is_glob(pattern):
            return [self.find(entries, kind, pattern)]
        distribution, colon, bare = pattern.rpartition(":")
        names = dict.fromkeys(
            f"{distribution}{colon}{e.spec.name}"
            for e in entries
            if fnmatch.fnmatchcase(e.spec.name, bare) and (not colon or e.provider.distribution == distribution)
        )
        if not names:
            raise UnknownNameError(kind, pattern, {e.spec.name for e in entries}, self._hint())
        return [self.find(entries, kind, name) for name in names]

    def clashes(self) -> list[str]:
        """One sentence for each name that two plugins give."""
        found = []
        for kind in PLUGIN_KINDS:
            names: dict[str, list[Provider]] = {}
            for entry in getattr(self, kind):
                names.setdefault(entry.spec.name, []).append(entry.provider)
            found += [
                f"{kind.removesuffix('s')} '{name}' is given by {_ways_out(name, givers)}"
                for name, givers in names.items()
                if len(givers) > 1
            ]
        return found

    def _hint(self) -> str:
        if self.broken:
            return f"broken plugins: {', '.join(b.provider.plugin for b in self.broken)} (see bench list plugins)"
        if not self.plugins:
            return "no plugin is installed; run pip install -e ."
        return ""


def is_glob(name: str) -> bool:
    """Whether a name may mean several; `[` is never part of a glob, it opens parameters."""
    return "*" in name or "?" in name


def load_catalog(selection: str | None = None) -> Catalog:
    """Every installed plugin, loaded and checked.

    Args:
        selection: names of plugins to load, separated by commas; `-name` keeps one out. Default: the environment
            variable BENCH_PLUGINS, else all.
    """
    chosen = os.environ.get("BENCH_PLUGINS", "") if selection is None else selection
    found = sorted(entry_points(group=hookspecs.PROJECT), key=lambda point: (point.name, point.value))
    providers = _providers(found)
    unique = {(point.name, point.value, provider.distribution): point for point, provider in providers.items()}
    wanted, blocked = _limited(unique.values(), chosen)
    return _load(wanted, blocked, providers)


def _limited(points: Iterable[EntryPoint], selection: str) -> tuple[list[EntryPoint], tuple[str, ...]]:
    words = [word.strip() for word in selection.split(",") if word.strip()]
    only = [word for word in words if not word.startswith("-")]
    never = [word[1:] for word in words if word.startswith("-")]
    points = list(points)
    unknown = [word for word in only + never if not any(fnmatch.fnmatchcase(point.name, word) for point in points)]
    if unknown:
        raise UnknownNameError("plugin", unknown[0], {point.name for point in points}, "it stands in BENCH_PLUGINS")

    def is_wanted(name: str) -> bool:
        kept = not only or any(fnmatch.fnmatchcase(name, word) for word in only)
        return kept and not any(fnmatch.fnmatchcase(name, word) for word in never)

    wanted = [point for point in points if is_wanted(point.name)]
    return wanted, tuple(sorted(point.name for point in points if not is_wanted(point.name)))


def _load(points: Iterable[EntryPoint], blocked: tuple[str, ...], providers: Mapping[EntryPoint, Provider]) -> Catalog:
    specs: dict[str, list[Entry[Spec]]] = {kind: [] for kind in PLUGIN_KINDS}
    plugins: list[Provider] = []
    broken: list[BrokenPlugin] = []
    for point in points:
        provider = providers[point]
        try:
            given = _given(point)
        except (
            Exception,
            SystemExit,
        ) as error:  # a stranger's code: whatever it raises is kept and shown, and the others go on
            broken.append(BrokenPlugin(provider=provider, reason=_one_line(error), traceback=traceback.format_exc()))
            continue
        plugins.append(provider)
        for hook, spec in given:
            specs[hook.removeprefix("bench_")].append(Entry(spec=spec, provider=provider))
    ordered = {kind: tuple(sorted(found, key=lambda e: e.spec.name)) for kind, found in specs.items()}
    return dataclasses.replace(
        Catalog(plugins=tuple(plugins), broken=tuple(broken), blocked=blocked),
        **ordered,  # type: ignore[arg-type]  # each kind was checked against its hook's type in _given
    )


def _given(point: EntryPoint) -> list[tuple[str, Spec]]:
    """All that one plugin gives. A manager of its own, so that nothing of a broken plugin stays behind."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(point.load(), name=point.name)
    manager.check_pending()
    given: list[tuple[str, Spec]] = []
    for hook, expected in hookspecs.HOOKS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            specs = implementation.function()
            if not isinstance(specs, Iterable):
                raise PluginError(f"{hook} returned {type(specs).__name__}, but must yield {expected.__name__}")
            given += [(hook, _checked(hook, spec, expected)) for spec in specs]
    _check_unique(given)
    return given


def _checked(hook: str, spec: object, expected: type) -> Spec:
    if not isinstance(spec, expected):
        raise PluginError(f"{hook} yielded {type(spec).__name__}, but must yield {expected.__name__}")
    assert isinstance(spec, MethodSpec | EncoderSpec | DatasetSpec | EvaluatorSpec | ExecutorSpec)
    name = spec.name
    if not name or not all(mark.isalnum() or mark in "_-." for mark in name):
        raise PluginError(f"{hook} yielded the name '{name}'; a name is made of letters, digits, _, - and .")
    if not dataclasses.is_dataclass(spec.params):
        raise PluginError(f"{hook}: params of '{name}' must be a dataclass type, not {spec.params!r}")
    try:
        spec.params()
    except TypeError as error:
        raise PluginError(f"{hook}: every parameter of '{name}' needs a default ({error})") from error
    if isinstance(spec, MethodSpec):
        _check_published(hook, spec)
    if isinstance(spec, EvaluatorSpec) and not (spec.pools and set(spec.pools) <= set(get_args(Pool))):
        raise PluginError(
            f"{hook}: pools of '{name}' are {spec.pools!r}; they are one or more of {', '.join(get_args(Pool))}"
        )
    return spec


def _check_published(hook: str, spec: MethodSpec) -> None:
    """A figure that cannot be told or never fits would be left out in silence."""
    if not isinstance(spec.published, tuple) or not all(isinstance(each, Published) for each in spec.published):
        raise PluginError(f"{hook}: published of '{spec.name}' must be a tuple of benchmark.Published")
    names = {field.name for field in dataclasses.fields(spec.params)}
    for figure in spec.published:
        where = f"{hook}: a published figure of '{spec.name}' ({figure.source})"
        unknown = sorted(set(figure.method) - names)
        if unknown:
            raise PluginError(
                f"{where} names the parameter '{unknown[0]}'; there is {', '.join(sorted(names)) or 'none'}"
            )
        if figure.status not in ("read", "recalled"):
            raise PluginError(f"{where} has the status '{figure.status}'; it is 'read' or 'recalled'")
        if figure.metric.startswith("accuracy") and not 0 <= figure.value <= 1:
            raise PluginError(f"{where} is {figure.value}; an accuracy is a fraction from 0 to 1, never a percentage")


def _check_unique(given: Iterable[tuple[str, Spec]]) -> None:
    seen: set[tuple[str, str]] = set()
    for hook, spec in given:
        if (hook, spec.name) in seen:
            raise PluginError(f"{hook} yielded the name '{spec.name}' twice")
        seen.add((hook, spec.name))


def _ways_out(name: str, givers: Sequence[Provider]) -> str:
    """Who gives the name, and how to mean one of them."""
    distributions = dict.fromkeys(giver.distribution for giver in givers)
    if len(distributions) == len(givers):
        written = " or ".join(f"{distribution}:{name}" for distribution in distributions)
        return f"{' and '.join(distributions)}; write {written}"
    plugins = [giver.plugin for giver in givers]
    blocked = " or ".join(f"BENCH_PLUGINS=-{plugin}" for plugin in plugins)
    return f"the plugins {' and '.join(plugins)} of {' and '.join(distributions)}; keep one out with {blocked}"


def _providers(points: Iterable[EntryPoint]) -> dict[EntryPoint, Provider]:
    """Who gives each entry point. A distribution's metadata is read once: that is most of the time this takes."""
    named: dict[int, tuple[str, str]] = {}
    found: dict[EntryPoint, Provider] = {}
    for point in points:
        distribution = point.dist
        if id(distribution) not in named:
            metadata = None if distribution is None else distribution.metadata
            named[id(distribution)] = (
                ("unknown", "unknown") if metadata is None else (metadata["Name"], metadata["Version"])
            )
        name, version = named[id(distribution)]
        found[point] = Provider(plugin=point.name, distribution=name, version=version)
    return found


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def versions(catalog: Catalog) -> Mapping[str, str]:
    """Distribution -> version, of every plugin that loaded: what a record's provenance holds."""
    return {provider.distribution: provider.version for provider in catalog.plugins}
