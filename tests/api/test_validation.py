"""Validation: a plugin whose hooks yield something invalid is broken, and the reason names what is wrong."""

from __future__ import annotations

import pytest
from conftest import PluginMaker

from benchmark.api.catalog import load_catalog

HOOK = "@benchmark.hookimpl\ndef bench_methods():\n"
METHOD = "benchmark.MethodSpec(name='one', summary='', build=lambda context: None)"
PARAMS = (
    "import dataclasses\n\n\n@dataclasses.dataclass(frozen=True, kw_only=True)\nclass Params:\n    width: int\n\n\n"
)
FIGURE = (
    "benchmark.Published(value=0.9, encoder='net', tap='conv2', evaluator='head', source='Ann 2020', status='recalled')"
)


def method(arguments: str, name: str = "one") -> str:
    """The code of a plugin with one method."""
    return f"{HOOK}    yield benchmark.MethodSpec(name={name!r}, summary='', build=lambda context: None, {arguments})\n"


def evaluator(pools: str) -> str:
    """The code of a plugin with one evaluator."""
    return (
        "@benchmark.hookimpl\ndef bench_evaluators():\n    yield benchmark.EvaluatorSpec(name='one', summary='', "
        f"evaluate=lambda probe, params: None, metrics=(), pools={pools})\n"
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"{HOOK}    return None\n", ["bench_methods", "must yield MethodSpec"]),
        (f"{HOOK}    return {METHOD}\n", ["bench_methods", "must yield MethodSpec"]),
        (f"{HOOK}    yield {METHOD}\n".replace("methods", "encoders"), ["bench_encoders", "MethodSpec", "EncoderSpec"]),
        (method("", name="a name"), ["'a name'", "letters, digits"]),
        (method("", name=""), ["a name consists of"]),
        (method("", name="-rf"), ["'-rf'", "starts with neither - nor ."]),
        (method("", name=".."), ["'..'", "starts with neither - nor ."]),
        (method("", name="a" * 101), ["at most 100 characters"]),
        (method("", name="a\u202eb"), ["'a\\u202eb'", "letters, digits"]),
        (method("paper='a\\x1b[2Jb'"), ["paper of 'one'", "\\x1b"]),
        (method("version='1'"), ["version of 'one' is '1'", "an integer"]),
        (method("version=True"), ["version of 'one' is True", "an integer"]),
        (PARAMS.replace("width: int", "width: 'Nowhere' = 1") + method("params=Params"), ["'one'", "Nowhere"]),
        (method("params=dict"), ["'one'", "dataclass"]),
        (PARAMS + method("params=Params"), ["'one'", "needs a default", "width"]),
        (evaluator("()"), ["pools of 'one'", "average, flat, none"]),
        (evaluator("('mean',)"), ["pools of 'one'", "average, flat, none"]),
        (f"{HOOK.replace('()', '(catalog)')}    yield from ()\n", ["bench_methods", "catalog"]),
        (f"{HOOK}    yield from ()\n    1 / 0\n", ["ZeroDivisionError"]),
        ("def broken(:\n", ["SyntaxError"]),
    ],
    ids=[
        *(
            "none",
            "returned",
            "wrong kind",
            "space in name",
            "no name",
            "option",
            "dots",
            "long",
            "direction",
            "escape",
        ),
        *("text as version", "bool as version", "annotation", "params dict", "no default", "no pool", "unknown pool"),
        *("argument", "raises", "syntax"),
    ],
)
def test_invalid_hook_breaks_its_plugin(make_plugin: PluginMaker, code: str, words: list[str]) -> None:
    make_plugin(code)
    catalog = load_catalog("made")
    (broken,) = catalog.broken
    assert catalog.plugins == catalog.methods == catalog.encoders == catalog.evaluators == ()
    assert [word for word in words if word not in broken.reason] == []


def test_specs_before_an_error_are_dropped(make_plugin: PluginMaker) -> None:
    make_plugin(f"{HOOK}    yield {METHOD}\n    raise ValueError('no second one')\n")
    catalog = load_catalog("made")
    assert catalog.methods == catalog.plugins == ()
    assert [broken.reason for broken in catalog.broken] == ["ValueError: no second one"]


@pytest.mark.parametrize("published", ["(0.9,)", "({'value': 0.9},)", "('conv: 0.9',)", f"({FIGURE}, None)", FIGURE])
def test_published_must_be_a_tuple_of_published(make_plugin: PluginMaker, published: str) -> None:
    make_plugin(method(f"published={published}"))
    (broken,) = load_catalog("made").broken
    assert "published of 'one' must be a tuple of benchmark.Published" in broken.reason


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.9", "91.16", "is 91.16; an accuracy is a fraction from 0 to 1, not a percentage"),
        ("'recalled'", "'Recalled'", "has the status 'Recalled'; valid are 'read' and 'recalled'"),
        ("'recalled'", "'read', method={'transfrom': 1}", "names the unknown parameter 'transfrom'; available: none"),
    ],
)
def test_published_score_must_be_comparable(make_plugin: PluginMaker, old: str, new: str, message: str) -> None:
    assert old in FIGURE
    make_plugin(method(f"published=({FIGURE.replace(old, new)},)"))
    (broken,) = load_catalog("made").broken
    assert f"a published score of 'one' (Ann 2020) {message}" in broken.reason


def test_published_scores_are_kept_and_optional(make_plugin: PluginMaker) -> None:
    make_plugin(method(f"published=({FIGURE},)"), name="with_scores")
    make_plugin(method("", name="two"), name="without", distribution="repbench-without")
    catalog = load_catalog("with_scores,without")
    assert catalog.broken == ()
    first, second = (entry.spec.published for entry in catalog.methods)
    assert [(figure.value, figure.status, figure.dataset) for figure in first] == [(0.9, "recalled", "cifar10")]
    assert second == ()
