"""Numbers as spreadsheets write them."""

from __future__ import annotations

import pytest

from benchmark.records.csv_numbers import Mark, NumberError, decimal_mark, parse_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(
            ("0.97", 0.97),
            ("0,97", 0.97),
            (".97", 0.97),
            (",97", 0.97),
            ("1,0", 1.0),
            ("0,972", 0.972),
            ("0.972", 0.972),
        ),
        *(
            ("9.7E-01", 0.97),
            ("9,7e-1", 0.97),
            ("+0.5", 0.5),
            ("-0,5", -0.5),
            ("\u22120.5", -0.5),
            ("1", 1.0),
            ("5.", 5.0),
        ),
        *(("1,234.5", 1234.5), ("1.234,5", 1234.5), ("1 234,5", 1234.5), ("1'234.5", 1234.5), ("1.234", 1.234)),
        *(
            ("12,345,678", 12345678.0),
            ("'0.97", 0.97),
            ('"0,97"', 0.97),
            ("97.2%", 0.972),
            ("97,2 %", 0.972),
            ("100%", 1.0),
        ),
    ],
)
def test_number_with_one_meaning_is_read(text: str, number: float) -> None:
    assert parse_number(text, None, percent=True) == number


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "TRUE",
            "nan",
            "inf",
            "-inf",
            "#REF!",
            "#DIV/0!",
            "1_000",
            "0x1",
            "(0.97)",
            "0.97 €",
            "01.02.2024",
            "2024-01-02",
        ),
        *("1.2.3", "1,2,3", "1,23,456", "\u0663", "1e999", "0.97.", "--1", "%", "1 23", "0,9 7"),
    ],
)
def test_text_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(NumberError):
        parse_number(text, None, percent=True)


@pytest.mark.parametrize(
    ("text", "mark", "integer", "number"),
    [
        ("1,234", ",", False, 1.234),
        ("1,234", ".", True, 1234),
        ("1.234", ",", True, 1234),
        ("1.234", ".", False, 1.234),
        ("360.0", ".", True, 360),
        ("360,0", None, True, 360),
        ("1,234", None, False, None),
        ("1,234", ".", False, None),
        ("1.234", ",", False, None),
        ("1,234", None, True, None),
        ("1.000", None, True, None),
        ("1,000", ",", True, None),
        ("1.000", ".", True, None),
    ],
)
def test_number_with_two_meanings_is_read_as_its_file_decides(
    text: str, mark: Mark | None, integer: bool, number: float | None
) -> None:
    if number is None:
        with pytest.raises(NumberError, match="has two meanings"):
            parse_number(text, mark, integer=integer)
    else:
        assert parse_number(text, mark, integer=integer) == number


def test_decimal_mark_is_that_of_the_unambiguous_numbers() -> None:
    assert decimal_mark(["1", "1,234", "0,5"]) == ","
    assert decimal_mark(["1,234", "0.5", "1,234.5"]) == "."
    assert decimal_mark(["1,234", "text", ""]) is None
    assert decimal_mark(["0,5", "0.5"]) is None


@pytest.mark.parametrize("text", ["0.5", "1e-3"])
def test_fraction_is_no_integer(text: str) -> None:
    with pytest.raises(NumberError, match="not a whole number"):
        parse_number(text, ".", integer=True)


def test_percentage_is_refused_where_none_is_meant() -> None:
    with pytest.raises(NumberError, match="percentage"):
        parse_number("3%", ".", integer=True)
