"""Checks of what a plugin's hooks yield: pluggy checks only the names of hooks and arguments."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import cast, get_args, get_type_hints

from benchmark.api.encoders import Pool
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.api.hookspecs import HOOKS, Spec
from benchmark.api.limits import shown
from benchmark.api.methods import MethodSpec, Published
from benchmark.errors import PluginError
from benchmark.plain_text import hidden_character

NAME = re.compile(r"\w[\w.-]{0,99}")


def checked_specs(hook: str, specs: object) -> list[Spec]:
    """The specs that a hook returned.

    Raises:
        PluginError: the hook returned no iterable, or yielded an invalid spec.
    """
    expected = HOOKS[hook].__name__
    if not isinstance(specs, Iterable):
        raise PluginError(f"{hook} returned {type(specs).__name__}, but must yield {expected}")
    checked: list[Spec] = []
    for spec in specs:
        if not isinstance(spec, HOOKS[hook]):
            raise PluginError(f"{hook} yielded {type(spec).__name__}, but must yield {expected}")
        valid = cast(Spec, spec)
        _check_spec(hook, valid)
        checked.append(valid)
    return checked


def check_names(specs: Iterable[tuple[str, Spec]]) -> None:
    """Checks that no hook of one plugin yields a name twice; `specs` are (hook, spec).

    Raises:
        PluginError: a name occurs twice.
    """
    seen: set[tuple[str, str]] = set()
    for hook, spec in specs:
        if (hook, spec.name) in seen:
            raise PluginError(f"{hook} yielded the name '{spec.name}' twice; names must be unique")
        seen.add((hook, spec.name))


def _check_spec(hook: str, spec: Spec) -> None:
    name = spec.name
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise PluginError(
            f"{hook} yielded the name {shown(name)}; a name consists of letters, digits, _, - and ., "
            "starts with neither - nor ., and has at most 100 characters"
        )
    _check_texts(hook, spec)
    _check_params(hook, spec)
    if isinstance(spec, MethodSpec):
        _check_published(hook, spec)
    if isinstance(spec, EvaluatorSpec) and not (spec.pools and set(spec.pools) <= set(get_args(Pool))):
        raise PluginError(
            f"{hook}: pools of '{name}' are {spec.pools!r}; valid are one or more of {', '.join(get_args(Pool))}"
        )


def _check_texts(hook: str, spec: Spec) -> None:
    """Texts and the version of a spec are part of listings and records."""
    for field in ("summary", "paper"):
        text = getattr(spec, field)
        if not isinstance(text, str) or hidden_character(text):
            raise PluginError(f"{hook}: {field} of '{spec.name}' is {shown(text)}; write it as text on one line")
    version = getattr(spec, "version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version < 1000:
        raise PluginError(f"{hook}: version of '{spec.name}' is {shown(version)}; write an integer from 0 to 999")


def _check_params(hook: str, spec: Spec) -> None:
    if not (isinstance(spec.params, type) and dataclasses.is_dataclass(spec.params)):
        raise PluginError(f"{hook}: params of '{spec.name}' must be a dataclass, not {spec.params!r}")
    try:
        spec.params()
    except TypeError as error:
        raise PluginError(f"{hook}: every parameter of '{spec.name}' needs a default ({error})") from error
    try:
        get_type_hints(spec.params)
    except Exception as error:  # code of a plugin
        raise PluginError(f"{hook}: the annotations of params of '{spec.name}' have no meaning ({error})") from error


def _check_published(hook: str, spec: MethodSpec) -> None:
    """An invalid published score would never match a measured one, and nobody would notice."""
    if not isinstance(spec.published, tuple) or not all(isinstance(each, Published) for each in spec.published):
        raise PluginError(f"{hook}: published of '{spec.name}' must be a tuple of benchmark.Published")
    names = {field.name for field in dataclasses.fields(spec.params)}
    for figure in spec.published:
        where = f"{hook}: a published score of '{spec.name}' ({figure.source})"
        unknown = sorted(set(figure.method) - names)
        if unknown:
            available = ", ".join(sorted(names)) or "none"
            raise PluginError(f"{where} names the unknown parameter '{unknown[0]}'; available: {available}")
        if figure.status not in ("read", "recalled"):
            raise PluginError(f"{where} has the status '{figure.status}'; valid are 'read' and 'recalled'")
        if figure.metric.startswith("accuracy") and not 0 <= figure.value <= 1:
            raise PluginError(f"{where} is {figure.value}; an accuracy is a fraction from 0 to 1, not a percentage")
