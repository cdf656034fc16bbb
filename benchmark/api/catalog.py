"""The catalog of installed plugins: found through entry points, loaded and checked one by one.

The catalog is a value: `load_catalog` builds it and callers pass it on. A plugin that cannot be loaded stays in it with
the reason and does not affect other plugins. If two plugins provide the same name, the catalog keeps both.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import os
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from importlib.metadata import EntryPoint
from typing import Generic, TypeVar

import pluggy

from benchmark.api import hookspecs, plugin_imports
from benchmark.api.datasets import DatasetSpec
from benchmark.api.encoders import EncoderSpec
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.api.executors import ExecutorSpec
from benchmark.api.hookspecs import Spec
from benchmark.api.methods import MethodSpec
from benchmark.api.validation import check_names, checked_specs
from benchmark.errors import PluginError, UnknownNameError, UsageError
from benchmark.plain_text import error_text
from benchmark.standard_streams import standard_streams_kept
from benchmark.working_directory import working_directory_kept

SpecT = TypeVar("SpecT", bound=Spec)
PLUGIN_KINDS = ("methods", "encoders", "datasets", "evaluators", "executors")


@dataclass(frozen=True, kw_only=True)
class Provider:
    """The origin of a plugin."""

    plugin: str
    """Name of its entry point."""
    distribution: str
    """Name of the installed distribution."""
    version: str
    """Version of the distribution."""
    module: str = field(default="", compare=False)
    """Module that the entry point names; empty if the plugin is not installed."""

    @property
    def full_name(self) -> str:
        """Distribution and entry point: `repbench:aet`."""
        return f"{self.distribution}:{self.plugin}"


@dataclass(frozen=True, kw_only=True)
class Entry(Generic[SpecT]):
    """A spec with its provider."""

    spec: SpecT
    """What the plugin provides."""
    provider: Provider
    """Where the plugin comes from."""


@dataclass(frozen=True, kw_only=True)
class BrokenPlugin:
    """A plugin that could not be loaded."""

    provider: Provider
    """Where the plugin comes from."""
    reason: str
    """One line: type and message of the error."""
    traceback: str = ""
    """The whole traceback of the error."""


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Everything that installed plugins provide, sorted by name within each kind."""

    methods: tuple[Entry[MethodSpec], ...] = ()
    """Methods: train encoders."""
    encoders: tuple[Entry[EncoderSpec], ...] = ()
    """Encoders: networks that methods train."""
    datasets: tuple[Entry[DatasetSpec], ...] = ()
    """Datasets: encoders are trained and scored on them."""
    evaluators: tuple[Entry[EvaluatorSpec], ...] = ()
    """Evaluators: score frozen features."""
    executors: tuple[Entry[ExecutorSpec], ...] = ()
    """Executors: run cells."""
    plugins: tuple[Provider, ...] = ()
    """The plugins that were loaded."""
    broken: tuple[BrokenPlugin, ...] = ()
    """The plugins that could not be loaded."""
    blocked: tuple[str, ...] = ()
    """Names of the plugins that BENCH_PLUGINS excludes."""

    def find(self, entries: Sequence[Entry[SpecT]], kind: str, name: str) -> Entry[SpecT]:
        """The entry called `name`, which may be `distribution:name`.

        Args:
            entries: one field of the catalog, such as `catalog.methods`.
            kind: what they are, in the singular, for messages: "method".
            name: as typed.

        Raises:
            UnknownNameError: no entry has this name; the message mentions broken plugins.
            UsageError: two plugins provide this name.
        """
        distribution, _, bare = name.rpartition(":")
        matching = [entry for entry in entries if entry.spec.name == bare and _is_from(entry, distribution)]
        if not matching:
            raise self._unknown(entries, kind, name)
        if len(matching) > 1:
            providers = [entry.provider for entry in matching]
            raise UsageError(f"{kind} '{name}' is provided by {_clash(bare, providers)}")
        return matching[0]

    def match(self, entries: Sequence[Entry[SpecT]], kind: str, pattern: str) -> list[Entry[SpecT]]:
        """The entries that match a name or a glob, in catalog order; both may start with `distribution:`.

        Raises:
            UnknownNameError: nothing matches.
            UsageError: two plugins provide a matching name.
        """
        if not is_glob(pattern):
            return [self.find(entries, kind, pattern)]
        distribution, colon, bare = pattern.rpartition(":")
        names = dict.fromkeys(
            f"{distribution}{colon}{entry.spec.name}"
            for entry in entries
            if fnmatch.fnmatchcase(entry.spec.name, bare) and _is_from(entry, distribution)
        )
        if not names:
            raise self._unknown(entries, kind, pattern)
        return [self.find(entries, kind, name) for name in names]

    def clashes(self) -> list[str]:
        """One sentence for each name that two plugins provide."""
        sentences = []
        for kind in PLUGIN_KINDS:
            providers: dict[str, list[Provider]] = {}
            for entry in getattr(self, kind):
                providers.setdefault(entry.spec.name, []).append(entry.provider)
            sentences += [
                f"{kind.removesuffix('s')} '{name}' is provided by {_clash(name, each)}"
                for name, each in providers.items()
                if len(each) > 1
            ]
        return sentences

    def versions(self) -> dict[str, str]:
        """Distribution -> version, for every plugin that was loaded; part of a record's provenance."""
        return {provider.distribution: provider.version for provider in self.plugins}

    def _unknown(self, entries: Iterable[Entry[SpecT]], kind: str, name: str) -> UnknownNameError:
        hint = ""
        if self.broken:
            broken = ", ".join(each.provider.plugin for each in self.broken)
            hint = f"broken plugins: {broken}; see `bench list plugins`"
        elif not self.plugins:
            hint = "no plugin is installed; run `pip install -e .`"
        return UnknownNameError(kind, name, {entry.spec.name for entry in entries}, hint, listed_as="installed")


def is_glob(name: str) -> bool:
    """Whether a name contains * or ?. A bracket starts parameters and is never part of a glob."""
    return "*" in name or "?" in name


def load_catalog(selection: str | None = None) -> Catalog:
    """Loads and checks every installed plugin.

    Args:
        selection: names or globs of the plugins to load, separated by commas; `-name` excludes one. Default: the
            environment variable BENCH_PLUGINS; if it is not set, all plugins.

    Raises:
        UnknownNameError: no plugin has a name of the selection.
    """
    text = os.environ.get("BENCH_PLUGINS", "") if selection is None else selection
    points = sorted(metadata.entry_points(group=hookspecs.PROJECT), key=lambda point: (point.name, point.value))
    providers = _providers(points)
    # A distribution that is on the path twice lists its entry points twice.
    unique = {(point.name, point.value, provider.distribution): point for point, provider in providers.items()}
    is_selected = _selector(text, [point.name for point in unique.values()])
    selected = [point for point in unique.values() if is_selected[point.name]]
    blocked = tuple(sorted(point.name for point in unique.values() if not is_selected[point.name]))
    return _load(selected, blocked, providers)


def _selector(selection: str, names: Sequence[str]) -> dict[str, bool]:
    """Plugin name -> whether the selection includes it."""
    words = [word.strip() for word in selection.split(",") if word.strip()]
    included = [word for word in words if not word.startswith("-")]
    excluded = [word[1:] for word in words if word.startswith("-")]
    for word in included + excluded:
        if not fnmatch.filter(names, word):
            raise UnknownNameError("plugin", word, set(names), "named in BENCH_PLUGINS", listed_as="installed")

    def matches(name: str, patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    return {name: (not included or matches(name, included)) and not matches(name, excluded) for name in names}


def _load(points: Sequence[EntryPoint], blocked: tuple[str, ...], providers: Mapping[EntryPoint, Provider]) -> Catalog:
    entries: dict[str, list[Entry[Spec]]] = {kind: [] for kind in PLUGIN_KINDS}
    plugins: list[Provider] = []
    broken: list[BrokenPlugin] = []
    names = {point: f"{providers[point].full_name}={providers[point].module}" for point in points}
    loaders = {name: functools.partial(_specs, point) for point, name in names.items()}
    modules = {name: providers[point].module for point, name in names.items()}
    examined = plugin_imports.examined(loaders, modules)
    with standard_streams_kept(), working_directory_kept(), examined as left_out:
        for point, name in names.items():
            provider = providers[point]
            try:
                specs = _specs(point, left_out.get(name, ""))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # code of a plugin: any error is kept and shown
                broken.append(_broken(provider, error))
                continue
            plugins.append(provider)
            for hook, spec in specs:
                entries[hook.removeprefix("bench_")].append(Entry(spec=spec, provider=provider))
    ordered = {kind: tuple(sorted(each, key=lambda entry: entry.spec.name)) for kind, each in entries.items()}
    return dataclasses.replace(
        Catalog(plugins=tuple(plugins), broken=tuple(broken), blocked=blocked),
        **ordered,  # type: ignore[arg-type]  # checked_specs checked each kind against its hook's type
    )


def _broken(provider: Provider, error: BaseException) -> BrokenPlugin:
    return BrokenPlugin(
        provider=provider, reason=_one_line(error), traceback="".join(traceback.format_exception(error))
    )


def _specs(point: EntryPoint, harm: str = "") -> list[tuple[str, Spec]]:
    """(hook, spec) of everything that one plugin provides.

    Each plugin has its own pluggy manager, so that a broken plugin leaves nothing behind.

    Args:
        point: the plugin's entry point.
        harm: why the plugin must not be imported.
    """
    if harm:
        raise PluginError(harm)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(point.load(), name=point.name)
    manager.check_pending()
    specs = [
        (hook, spec)
        for hook in hookspecs.HOOKS
        for implementation in getattr(manager.hook, hook).get_hookimpls()
        for spec in checked_specs(hook, implementation.function())
    ]
    check_names(specs)
    return specs


def _is_from(entry: Entry[SpecT], distribution: str) -> bool:
    """Whether the entry comes from that distribution; an empty name means any."""
    return distribution in ("", entry.provider.distribution)


def _clash(name: str, providers: Sequence[Provider]) -> str:
    """The providers of a name, and how to select one of them."""
    distributions = dict.fromkeys(provider.distribution for provider in providers)
    if len(distributions) == len(providers):
        typed = " or ".join(f"{distribution}:{name}" for distribution in distributions)
        return f"{' and '.join(distributions)}; write {typed}"
    plugins = [provider.plugin for provider in providers]
    exclusions = " or ".join(f"BENCH_PLUGINS=-{plugin}" for plugin in plugins)
    return f"the plugins {' and '.join(plugins)} of {' and '.join(distributions)}; exclude one with {exclusions}"


def _providers(points: Iterable[EntryPoint]) -> dict[EntryPoint, Provider]:
    """The provider of each entry point. Each distribution's metadata is read once, because reading is slow."""
    versions: dict[int, tuple[str, str]] = {}
    providers: dict[EntryPoint, Provider] = {}
    for point in points:
        key = id(point.dist)
        if key not in versions:
            headers = None if point.dist is None else point.dist.metadata
            versions[key] = ("unknown", "unknown") if headers is None else (headers["Name"], headers["Version"])
        distribution, version = versions[key]
        providers[point] = Provider(
            plugin=point.name,
            distribution=distribution,
            version=version,
            module=getattr(point, "module", ""),  # an invalid entry point has none
        )
    return providers


def _one_line(error: BaseException) -> str:
    text = error_text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
