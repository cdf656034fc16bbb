"""The little language of the command line."""

from __future__ import annotations

import pytest

from benchmark.api.grammar import Selection, parse_assignments, parse_items, parse_seeds, parse_value
from benchmark.errors import UsageError


def _names(*texts: str) -> list[str]:
    return [selection.name for selection in parse_items(texts)]


# --- items ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [("dim,aet",), ("dim aet",), ("dim", "aet"), (" dim , aet ",), ("dim,,aet,",), ("dim ,", " aet"), ("dim  aet",)],
)
def test_commas_spaces_and_repeats_of_the_option_all_separate(texts: tuple[str, ...]) -> None:
    assert _names(*texts) == ["dim", "aet"]


def test_nothing_typed_is_no_item() -> None:
    assert parse_items([]) == []
    assert parse_items([""]) == []
    assert parse_items([" , "]) == []


def test_a_parameter_stands_in_brackets() -> None:
    assert parse_items(["aet[transform=affine]"]) == [Selection(name="aet", params=(("transform", "affine"),))]


def test_commas_and_spaces_inside_brackets_do_not_split_items() -> None:
    found = parse_items(["dim[objective=local, gamma=.1] aet"])
    assert found == [Selection(name="dim", params=(("objective", "local"), ("gamma", 0.1))), Selection(name="aet")]


@pytest.mark.parametrize("mark", ["'", '"'])
def test_quotes_keep_separators_brackets_and_bars_in_a_value(mark: str) -> None:
    found = parse_items([f"folder[path={mark}my photos, [2024] a|b{mark},size=32] digits"])
    assert found == [
        Selection(name="folder", params=(("path", "my photos, [2024] a|b"), ("size", 32))),
        Selection(name="digits"),
    ]


def test_one_kind_of_quote_holds_the_other() -> None:
    assert parse_items(['folder[name="Ann\'s"]'])[0].params == (("name", "Ann's"),)


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parse_items(["folder[path=a=b]"])[0].params == (("path", "a=b"),)


def test_alternatives_make_several_items() -> None:
    found = parse_items(["aet[transform=affine|projective]"])
    assert [dict(s.params)["transform"] for s in found] == ["affine", "projective"]


def test_alternatives_of_two_parameters_are_multiplied_out() -> None:
    found = parse_items(["dim[gamma=0|.1|1, objective=local|global]"])
    assert [tuple(value for _, value in s.params) for s in found] == [
        (gamma, objective) for gamma in (0, 0.1, 1) for objective in ("local", "global")
    ]


def test_empty_brackets_are_the_defaults() -> None:
    assert parse_items(["aet[]"]) == [Selection(name="aet")]


def test_globs_and_providers_are_names_like_others() -> None:
    assert _names("*", "di?", "repbench:aet") == ["*", "di?", "repbench:aet"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aet[transform=affine", "does not close"),
        ("aet]", "was not open"),
        ("aet][", "was not open"),
        ("aet[a=1]b[c=2]", "was not open"),
        ("aet[a=1]b", "does not close"),
        ("aet[name='x]", "a quote does not close"),
        ("[transform=affine]", "a name is missing"),
        ("aet[affine]", "'affine' is not a parameter; write key=value"),
        ("aet[=affine]", "is not a parameter; write key=value"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_items([text])
    assert caught.value.exit_code == 2


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("0", 0),
        (".05", 0.05),
        ("1e-3", 1e-3),
        ("3.0", 3.0),
        ("0.10", 0.1),
        ("true", True),
        ("False", False),
        ("none", None),
        ("None", None),
        ("affine", "affine"),
        ("'true'", "true"),
        ('"12"', "12"),
        ("''", ""),
        (" spaced ", "spaced"),
        ("1;2;3", "1;2;3"),
        ("~/photos", "~/photos"),
    ],
)
def test_a_value_has_the_type_that_it_looks_like(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["007", "1_000", "nan", "inf", "-Infinity", "1e999", "00", "²"])
def test_what_would_not_come_back_as_typed_stays_text(text: str) -> None:
    assert parse_value(text) == text


def test_assignments_are_a_dictionary_in_which_the_last_wins() -> None:
    found = parse_assignments(["lr=.05,batch=128", "lr=1e-3 milestones=1;2"])
    assert found == {"lr": 1e-3, "batch": 128, "milestones": "1;2"}


def test_an_assignment_without_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match="'lr' is not a parameter; write key=value"):
        parse_assignments(["lr"])


def test_a_bar_in_an_assignment_is_text() -> None:
    assert parse_assignments(["lr=1|2"]) == {"lr": "1|2"}


# --- seeds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("1", (0,)),
        ("5", (0, 1, 2, 3, 4)),
        ("0,3", (0, 3)),
        ("3,0", (3, 0)),
        ("7,", (7,)),
        ("0,", (0,)),
        (" 1 , 2 ", (1, 2)),
        ("2,2,1", (2, 1)),
    ],
)
def test_a_number_counts_seeds_and_a_list_names_them(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", ",", "-1", "a", "1.5", "0-3", "0 3", "²", "1,x"])
def test_what_is_no_seed_is_refused_with_both_forms_shown(text: str) -> None:
    with pytest.raises(UsageError, match="write 5 for seeds 0 to 4, or 0,3 for these two"):
        parse_seeds(text)


def test_no_seed_at_all_is_refused_with_how_to_write_seed_zero() -> None:
    with pytest.raises(UsageError, match="write 1 for seed 0 alone"):
        parse_seeds("0")
