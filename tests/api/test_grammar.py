"""The grammar of items, values, assignments and seeds on the command line."""

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
def test_commas_spaces_and_repeated_options_separate_items(texts: tuple[str, ...]) -> None:
    assert _names(*texts) == ["dim", "aet"]


@pytest.mark.parametrize("texts", [[], [""], [" , "]])
def test_empty_text_has_no_items(texts: list[str]) -> None:
    assert parse_items(texts) == []


def test_parameters_are_in_brackets() -> None:
    assert parse_items(["aet[transform=affine]"]) == [Selection(name="aet", params=(("transform", "affine"),))]


def test_brackets_keep_commas_and_spaces() -> None:
    items = parse_items(["dim[objective=local, gamma=.1] aet"])
    assert items == [Selection(name="dim", params=(("objective", "local"), ("gamma", 0.1))), Selection(name="aet")]


@pytest.mark.parametrize("mark", ["'", '"'])
def test_quotes_keep_separators_brackets_and_bars(mark: str) -> None:
    items = parse_items([f"folder[path={mark}my photos, [2024] a|b{mark},size=32] digits"])
    assert items == [
        Selection(name="folder", params=(("path", "my photos, [2024] a|b"), ("size", 32))),
        Selection(name="digits"),
    ]


def test_quotes_may_contain_the_other_kind() -> None:
    assert parse_items(['folder[name="Ann\'s"]'])[0].params == (("name", "Ann's"),)


def test_value_may_contain_an_equals_sign() -> None:
    assert parse_items(["folder[path=a=b]"])[0].params == (("path", "a=b"),)


def test_alternatives_make_several_items() -> None:
    items = parse_items(["aet[transform=affine|projective]"])
    assert [dict(s.params)["transform"] for s in items] == ["affine", "projective"]


def test_alternatives_of_two_parameters_are_combined() -> None:
    items = parse_items(["dim[gamma=0|.1|1, objective=local|global]"])
    assert [tuple(value for _, value in s.params) for s in items] == [
        (gamma, objective) for gamma in (0, 0.1, 1) for objective in ("local", "global")
    ]


def test_empty_brackets_mean_the_defaults() -> None:
    assert parse_items(["aet[]"]) == [Selection(name="aet")]


def test_names_may_hold_globs_and_distributions() -> None:
    assert _names("*", "di?", "repbench:aet") == ["*", "di?", "repbench:aet"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aet[transform=affine", "a bracket is not closed"),
        ("aet]", "a closing bracket has no opening bracket"),
        ("aet][", "a closing bracket has no opening bracket"),
        ("aet[a=1]b[c=2]", "a closing bracket has no opening bracket"),
        ("aet[a=1]b", "the bracket is not closed"),
        ("aet[name='x]", "a quote is not closed"),
        ("[transform=affine]", "no name before the bracket"),
        ("aet[affine]", "'affine' is not a parameter; write key=value"),
        ("aet[=affine]", "is not a parameter; write key=value"),
    ],
)
def test_invalid_item_is_an_error_that_shows_the_valid_form(text: str, message: str) -> None:
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
def test_value_has_the_type_that_it_looks_like(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", ["007", "1_000", "nan", "inf", "-Infinity", "1e999", "00", "²"])
def test_number_that_would_not_be_reproduced_stays_text(text: str) -> None:
    assert parse_value(text) == text


def test_last_assignment_of_a_key_counts() -> None:
    assignments = parse_assignments(["lr=.05,batch=128", "lr=1e-3 milestones=1;2"])
    assert assignments == {"lr": 1e-3, "batch": 128, "milestones": "1;2"}


def test_assignment_needs_a_value() -> None:
    with pytest.raises(UsageError, match="'lr' is not a parameter; write key=value"):
        parse_assignments(["lr"])


def test_bar_in_an_assignment_is_text() -> None:
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
def test_one_number_counts_seeds_and_a_list_names_them(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", ",", "-1", "a", "1.5", "0-3", "0 3", "²", "1,x"])
def test_invalid_seeds_are_an_error_that_shows_both_forms(text: str) -> None:
    with pytest.raises(UsageError, match="write 5 for seeds 0 to 4, or 0,3 for seeds 0 and 3"):
        parse_seeds(text)


def test_zero_seeds_are_an_error_that_shows_how_to_write_seed_zero() -> None:
    with pytest.raises(UsageError, match=r"write 1, or 0, \(with a comma\) for seed 0"):
        parse_seeds("0")


# --- plain text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["\0", "\x1b", "\u202e", "\u2066", "\x85"])
@pytest.mark.parametrize("text", ["ae{}t", "aet[trans{}form=affine]", "aet[transform=a{}b]", "aet[transform='a{}b']"])
def test_characters_that_are_not_plain_text_are_refused(text: str, character: str) -> None:
    with pytest.raises(UsageError, match="must not contain"):
        parse_items([text.format(character)])
    if "[" in text:
        with pytest.raises(UsageError, match="must not contain"):
            parse_assignments([text.partition("[")[2].rstrip("]").format(character)])


def test_line_breaks_separate_items_but_are_not_part_of_a_value() -> None:
    assert _names("dim,\n\taet\r\n") == ["dim", "aet"]
    with pytest.raises(UsageError, match=r"must not contain \\n"):
        parse_items(["folder[path='a\nb']"])


def test_text_that_stands_for_too_many_items_is_refused_at_once() -> None:
    alternatives = "|".join(map(str, range(10)))
    with pytest.raises(UsageError, match="stands for 10000000000 items"):
        parse_items([f"dim[{','.join(f'{name}={alternatives}' for name in 'abcdefghij')}]"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10001", "at most 10000"),
        ("1000000000", "at most"),
        ("9" * 5000, "a seed is at most"),
        ("4294967296,", "at most"),
    ],
)
def test_too_many_or_too_large_seeds_are_refused_at_once(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_seeds(text)
