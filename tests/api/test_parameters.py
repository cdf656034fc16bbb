"""From typed values to a plugin's dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from benchmark.api.encoders import NoParams
from benchmark.api.grammar import parse_items, parse_value
from benchmark.api.parameters import as_dict, bind, expected, label
from benchmark.api.recipes import Recipe
from benchmark.errors import UnknownNameError, UsageError


@dataclass(frozen=True, kw_only=True)
class Params:
    """One field of each kind."""

    count: int = 3
    rate: float = 0.5
    whole: float = 1
    on: bool = False
    word: str = ""
    kind: Literal["none", "crop", "true"] = "crop"
    depth: Literal[18, 50] = 18
    clip: float | None = None
    level: Literal[1, 2] = 2
    text_or_number: str | int = 0
    steps: tuple[int, ...] = ()
    shares: tuple[float, ...] | None = None
    computed: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count={self.count} must be 0 or more")


def _bound(key: str, text: str) -> object:
    return getattr(bind(Params, {key: parse_value(text)}, "method 'mine'"), key)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("count", "7", 7),
        ("count", "7.0", 7),
        ("rate", "2", 2.0),
        ("rate", "1e-3", 0.001),
        ("on", "true", True),
        ("word", "hello", "hello"),
        ("word", "2024", "2024"),
        ("word", "007", "007"),
        ("word", "nan", "nan"),
        ("word", "'true'", "true"),
        ("kind", "none", "none"),
        ("kind", "true", "true"),
        ("depth", "50", 50),
        ("clip", "none", None),
        ("clip", "1", 1.0),
        ("text_or_number", "3", 3),
        ("text_or_number", "three", "three"),
        ("steps", "1;2;3", (1, 2, 3)),
        ("steps", "240", (240,)),
        ("steps", "''", ()),
        ("shares", ".5;1", (0.5, 1.0)),
        ("shares", "none", None),
    ],
)
def test_a_value_becomes_what_the_annotation_wants(key: str, text: str, value: object) -> None:
    found = _bound(key, text)
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, tuple) and isinstance(found, tuple):
        assert [type(part) for part in found] == [type(part) for part in value]


@pytest.mark.parametrize(
    ("key", "text", "wanted"),
    [
        ("count", "7.5", "count is a whole number"),
        ("count", "true", "count is a whole number"),
        ("count", "many", "count is a whole number"),
        ("rate", "true", "rate is a number"),
        ("rate", "nan", "rate is a number"),
        ("on", "1", "on is true or false"),
        ("on", "yes", "on is true or false"),
        ("word", "true", "word is a text"),
        ("word", "none", "word is a text"),
        ("kind", "flip", "kind is one of none, crop, true"),
        ("kind", "Crop", "kind is one of none, crop, true"),
        ("depth", "34", "depth is one of 18, 50"),
        ("clip", "big", "clip is a number or none"),
        ("steps", "1;x", "steps is a list of whole numbers, written 1;2;3"),
        ("steps", "1.5", "steps is a list of"),
    ],
)
def test_a_wrong_value_is_told_with_whose_it_is_and_what_would_be_right(key: str, text: str, wanted: str) -> None:
    with pytest.raises(UsageError, match=wanted) as caught:
        _bound(key, text)
    assert str(caught.value).startswith(f"method 'mine': {key}=")
    assert f"Write {key}=" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused_wherever_it_comes_from(value: float) -> None:
    with pytest.raises(UsageError, match="rate is a number"):
        bind(Params, {"rate": value}, "method 'mine'")


def test_true_is_no_whole_number_and_one_is_not_true() -> None:
    for key, value in (("count", True), ("rate", True), ("level", True), ("on", 1), ("on", 0)):
        with pytest.raises(UsageError):
            bind(Params, {key: value}, "method 'mine'")


def test_an_example_in_a_message_can_be_typed() -> None:
    for key in ("count", "rate", "on", "kind", "depth", "clip", "steps"):
        with pytest.raises(UsageError) as caught:
            bind(Params, {key: object()}, "method 'mine'")
        example = str(caught.value).partition(f"Write {key}=")[2].partition(", for instance")[0]
        assert _bound(key, example) is not None


def test_an_unknown_parameter_is_told_with_the_nearest_and_all_that_exist() -> None:
    with pytest.raises(UnknownNameError, match="no parameter of method 'mine' called 'cuont'") as caught:
        bind(Params, {"cuont": 1}, "method 'mine'")
    assert "did you mean 'count'?" in str(caught.value)
    assert "clip, count, depth" in str(caught.value)


def test_keys_that_the_caller_takes_itself_are_named_too() -> None:
    with pytest.raises(UnknownNameError, match="there is: subset"):
        bind(NoParams, {"subst": 1}, "dataset 'digits'", others=("subset",))


def test_a_field_that_is_no_argument_cannot_be_given() -> None:
    with pytest.raises(UnknownNameError, match="called 'computed'"):
        bind(Params, {"computed": 1}, "method 'mine'")


def test_what_the_dataclass_refuses_is_told_in_its_words() -> None:
    with pytest.raises(UsageError, match="method 'mine': count=-1 must be 0 or more"):
        bind(Params, {"count": -1}, "method 'mine'")


def test_a_whole_number_as_the_default_of_a_number_is_the_same_as_typed() -> None:
    assert repr(bind(Params, {}, "m").whole) == repr(bind(Params, {"whole": 1}, "m").whole) == "1.0"


def test_what_is_no_dataclass_is_refused() -> None:
    with pytest.raises(UsageError, match="dict is no dataclass"):
        bind(dict, {}, "method 'mine'")


def test_lists_from_a_file_are_tuples() -> None:
    assert bind(Recipe, {"milestones": [3, 4]}, "recipe").milestones == (3, 4)


def test_as_dict_holds_every_field_in_order() -> None:
    assert list(as_dict(Recipe()))[:3] == ["epochs", "batch", "optimizer"]
    assert as_dict(bind(Params, {"steps": (1, 2)}, "m"))["steps"] == (1, 2)


def test_expected_says_optional_in_words() -> None:
    assert expected(int | None) == "a whole number or none"


# --- labels -----------------------------------------------------------------------------------------------------------


def _label(text: str) -> str:
    selection = parse_items([text])[0]
    values = as_dict(bind(Params, dict(selection.params), "method 'mine'"))
    return label(selection.name, values, as_dict(Params()))


def test_a_label_is_the_name_with_its_non_default_keys_sorted() -> None:
    assert _label("mine[word=x,count=5,clip=2]") == "mine[clip=2.0,count=5,word=x]"


def test_defaults_do_not_show() -> None:
    assert _label("mine") == _label("mine[count=3]") == _label("mine[count=3.0,kind=crop,steps='']") == "mine"


@pytest.mark.parametrize(
    "params",
    [
        "count=5",
        "kind='none'",
        "steps=1;2",
        "word='a, b'",
        "word='[x]'",
        "word='a|b'",
        "word='12'",
        "word='true'",
        'word="Ann\'s"',
        "word='say \"hi\"'",
        "rate=0.001",
        "clip=2.0",
        "on=true",
    ],
)
def test_a_label_can_be_typed_again(params: str) -> None:
    shown = _label(f"mine[{params}]")
    assert shown != "mine"
    assert _label(shown) == shown
    given, again = (dict(parse_items([text])[0].params) for text in (f"mine[{params}]", shown))
    assert bind(Params, given, "m") == bind(Params, again, "m")


def test_a_text_that_looks_like_a_number_is_told_from_the_number() -> None:
    assert label("m", {"x": "3"}, {}) == "m[x='3']"
    assert label("m", {"x": 3}, {}) == "m[x=3]"
