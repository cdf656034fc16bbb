"""Parameters: typed values become the fields of a dataclass, errors show valid values, labels can be typed again."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

import pytest

from benchmark.api.encoders import NoParams
from benchmark.api.grammar import parse_items, parse_value
from benchmark.api.parameters import as_dict, bind, expected, label
from benchmark.api.recipes import Recipe
from benchmark.errors import UnknownNameError, UsageError


@dataclass(frozen=True)
class Whole:
    """An integer."""

    count: int = 1


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


def bound(key: str, value: object) -> object:
    return getattr(bind(Params, {key: value}, "method 'mine'"), key)


# --- values -----------------------------------------------------------------------------------------------------------


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
def test_typed_value_becomes_the_annotated_type(key: str, text: str, value: object) -> None:
    converted = bound(key, parse_value(text))
    assert converted == value
    assert type(converted) is type(value)
    if isinstance(value, tuple) and isinstance(converted, tuple):
        assert [type(part) for part in converted] == [type(part) for part in value]


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        ("count", 7.5, "an integer"),
        ("count", True, "an integer"),
        ("count", "many", "an integer"),
        ("rate", True, "a number"),
        ("rate", "nan", "a number"),
        ("rate", float("nan"), "a number"),
        ("rate", float("inf"), "a number"),
        ("on", 1, "true or false"),
        ("on", 0, "true or false"),
        ("on", "yes", "true or false"),
        ("word", True, "text"),
        ("word", None, "text"),
        ("kind", "flip", "one of none, crop, true"),
        ("kind", "Crop", "one of none, crop, true"),
        ("depth", 34, "one of 18, 50"),
        ("level", True, "one of 1, 2"),
        ("clip", "big", "a number or none"),
        ("steps", "1;x", "a list written 1;2;3 (each entry an integer)"),
        ("steps", 1.5, "a list written 1;2;3 (each entry an integer)"),
    ],
)
def test_invalid_value_is_an_error_that_shows_valid_ones(key: str, value: object, valid: str) -> None:
    with pytest.raises(UsageError) as caught:
        bound(key, value)
    pattern = rf"method 'mine': {key}=.* is not valid; {key} is {re.escape(valid)}, for example {key}=(.*)"
    matched = re.fullmatch(pattern, str(caught.value))
    assert matched, str(caught.value)
    assert bound(key, parse_value(matched[1])) is not None  # the example is valid


def test_value_that_the_dataclass_refuses_is_an_error_in_its_words() -> None:
    with pytest.raises(UsageError, match="method 'mine': count=-1 must be 0 or more"):
        bound("count", -1)


def test_unknown_parameter_is_an_error_that_lists_all_and_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no parameter of method 'mine' called 'cuont'; available: clip, count"):
        bound("cuont", 1)
    with pytest.raises(UnknownNameError, match=r"did you mean 'count'\?"):
        bound("cuont", 1)


def test_field_that_is_no_argument_is_unknown() -> None:
    with pytest.raises(UnknownNameError, match="called 'computed'"):
        bound("computed", 1)


def test_keys_of_the_caller_are_listed_as_available() -> None:
    with pytest.raises(UnknownNameError, match="available: subset"):
        bind(NoParams, {"subst": 1}, "dataset 'digits'", others=("subset",))


def test_integer_default_of_a_float_equals_the_typed_integer() -> None:
    assert repr(bind(Params, {}, "m").whole) == repr(bind(Params, {"whole": 1}, "m").whole) == "1.0"


def test_params_must_be_a_dataclass() -> None:
    with pytest.raises(UsageError, match="dict is not a dataclass"):
        bind(dict, {}, "method 'mine'")


def test_lists_of_a_file_become_tuples() -> None:
    assert bind(Recipe, {"milestones": [3, 4]}, "recipe").milestones == (3, 4)


def test_as_dict_holds_every_field_in_order() -> None:
    assert list(as_dict(Recipe()))[:3] == ["epochs", "batch", "optimizer"]
    assert as_dict(bind(Params, {"steps": (1, 2)}, "m"))["steps"] == (1, 2)


def test_expected_names_each_option_of_a_union() -> None:
    assert expected(int | None) == "an integer or none"


# --- labels -----------------------------------------------------------------------------------------------------------


def label_of(text: str) -> str:
    selection = parse_items([text])[0]
    values = as_dict(bind(Params, dict(selection.params), "method 'mine'"))
    return label(selection.name, values, as_dict(Params()))


def test_label_is_the_name_with_sorted_non_default_keys() -> None:
    assert label_of("mine[word=x,count=5,clip=2]") == "mine[clip=2.0,count=5,word=x]"


def test_label_omits_defaults() -> None:
    assert label_of("mine") == label_of("mine[count=3]") == label_of("mine[count=3.0,kind=crop,steps='']") == "mine"


@pytest.mark.parametrize(
    "params",
    [
        *("count=5", "kind='none'", "steps=1;2", "word='a, b'", "word='[x]'", "word='a|b'", "word='12'", "word='true'"),
        *('word="Ann\'s"', "word='say \"hi\"'", "rate=0.001", "clip=2.0", "on=true"),
    ],
)
def test_label_can_be_typed_again(params: str) -> None:
    text = label_of(f"mine[{params}]")
    assert text != "mine"
    assert label_of(text) == text
    first, again = (dict(parse_items([each])[0].params) for each in (f"mine[{params}]", text))
    assert bind(Params, first, "m") == bind(Params, again, "m")


def test_label_quotes_text_that_looks_like_a_number() -> None:
    assert label("m", {"x": "3"}, {}) == "m[x='3']"
    assert label("m", {"x": 3}, {}) == "m[x=3]"


@pytest.mark.parametrize("value", [10**19, -(10**19), 1e30, float("inf"), float("nan"), True])
def test_integer_that_does_not_fit_64_bits_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="is an integer"):
        bind(Whole, {"count": value}, "method 'one'")
