"""A baseline CSV that people and spreadsheets have edited: read with its one meaning, or refused with row and column."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Bench
from sample_cells import AET, BASELINE, Check, verdicts_of, write_seeds
from sample_records import sample_record, sample_score

from benchmark.analysis.baseline_csv import read_baseline_csv
from benchmark.records.csv_text import CsvError
from benchmark.records.dataframe import records_csv
from benchmark.records.record import Record
from benchmark.stats.intervals import wilson

VALUES = (0.972222, 0.958333, 0.5)
SCORED = [sample_record(seed=seed, scores=(sample_score(value, n=360),)) for seed, value in enumerate(VALUES)]
CSV = records_csv(SCORED)
Edit = Callable[[list[dict[str, str]]], None]
"""Changes the rows of a CSV; row 2 of the file is the first."""


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def text_of(rows: list[dict[str, str]], separator: str = ",", **settings: object) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=separator, lineterminator="\n", **settings)  # type: ignore[arg-type]  # any option
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def edited(edit: Edit) -> bytes:
    rows = rows_of(CSV)
    edit(rows)
    return text_of(rows).encode()


def set_field(column: str, text: str, row: int = 0) -> Edit:
    return lambda rows: rows[row].update({column: text})


def contents(records: tuple[Record, ...]) -> list[tuple[object, ...]]:
    return [
        (each.id, each.labels, each.seed, each.cell["recipe"], [(s.value, s.n) for s in each.scores])
        for each in records
    ]


EXPECTED = contents(read_baseline_csv(CSV.encode()).records)


def comma_decimals(separator: str) -> bytes:
    rows = rows_of(CSV)
    for row in rows:
        for name in ("value", "ci_low", "ci_high", "train_seconds", "epochs"):
            row[name] = row[name].replace(".", ",")
    return text_of(rows, separator).encode()


def with_header(change: Callable[[str], str]) -> bytes:
    header, _, rest = CSV.partition("\n")
    return f"{change(header)}\n{rest}".encode()


def reordered() -> bytes:
    return text_of([dict(reversed(row.items())) for row in rows_of(CSV)]).encode()


def without(*columns: str) -> bytes:
    return text_of([{name: text for name, text in row.items() if name not in columns} for row in rows_of(CSV)]).encode()


def test_sample_has_the_values_of_its_records() -> None:
    assert [scores[0][0] for *_, scores in EXPECTED] == list(VALUES)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xef\xbb\xbf" + CSV.encode(), id="byte order mark"),
        *(pytest.param(CSV.encode(each), id=each) for each in ("utf-16", "utf-16-le", "utf-16-be", "utf-32")),
        pytest.param(CSV.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(CSV.replace("\n", "\r").encode(), id="CR"),
        pytest.param(text_of(rows_of(CSV), ";").encode(), id="semicolons"),
        pytest.param(text_of(rows_of(CSV), "\t").encode(), id="tabs"),
        pytest.param(b"sep=;\n" + text_of(rows_of(CSV), ";").encode(), id="sep="),
        pytest.param(comma_decimals(";"), id="decimal commas and semicolons"),
        pytest.param(comma_decimals("\t"), id="decimal commas and tabs"),
        pytest.param(comma_decimals(","), id="decimal commas in quotes"),
        pytest.param(text_of(rows_of(CSV), quoting=csv.QUOTE_ALL).encode(), id="all quoted"),
        pytest.param(("\n,,,\n" + CSV + "\n,,,,\n , \n").encode(), id="blank rows"),
        pytest.param("".join(f"{line},,\n" for line in CSV.splitlines()).encode(), id="blank columns"),
        pytest.param(CSV.encode() + CSV.splitlines(keepends=True)[0].encode(), id="header twice"),
        pytest.param(CSV.rstrip("\n").encode(), id="no last line break"),
        pytest.param(with_header(str.upper), id="upper case"),
        pytest.param(with_header(lambda text: text.replace("method_params", " Method Params ")), id="spaces in header"),
        pytest.param(with_header(lambda text: text.replace("commit", "note")), id="renamed column that is not needed"),
        pytest.param(reordered(), id="reordered"),
        pytest.param(without("ci_low", "ci_high", "commit", "device", "precision"), id="columns that are not needed"),
    ],
)
def test_file_of_another_program_is_read(data: bytes) -> None:
    assert contents(read_baseline_csv(data).records) == EXPECTED


@pytest.mark.parametrize(
    ("column", "text"),
    [
        *(("value", "0,972222"), ("value", "9.72222E-01"), ("value", "'0.972222"), ("value", '"0.972222"')),
        *(("value", "97.2222%"), ("value", "97,2222 %"), ("value", " 0.972222 "), ("value", "\u00a00.972222")),
        *(("seed", "0.0"), ("seed", "'0"), ("n", "360.0"), ("n", "3.6E+02"), ("n", "360,0"), ("epochs", "6,0")),
        *(("state", "Done"), ("method", "'aet"), ("method", " aet ")),
    ],
)
def test_field_with_one_meaning_is_read(column: str, text: str) -> None:
    read = contents(read_baseline_csv(edited(set_field(column, text))).records)
    if (column, text) == ("method", "'aet"):
        assert read != EXPECTED, "an apostrophe may be part of a name"
    else:
        assert read == EXPECTED


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        ("value", ("97.2222", "97,2222", "", "nan", "inf", "TRUE", "#REF!", "-0.5", "1,234", "0.9.2024", "1.5", "abc")),
        ("n", ("", "0", "-360", "360.5", "1.000", "36%", "text", "1e400", "#N/A")),
        ("seed", ("-1", "0.5", "TRUE", "zero", "1e30")),
        ("epochs", ("-6", "nan", "six")),
        ("versions", ("1.1", "01.01.2001", "2001-01-01", "1/1/01", "1.1.2001", "1,1,1", "1.01.1", "Jan 01")),
        ("fingerprint", ("1.23E+12", "1,23E+12", "12E+10")),
        ("cell", ("", "1.2E+09")),
        ("method_params", ("{", "[]", "null", "1", '{""a"": 1}', "{\u201ca\u201d: 1}")),
        ("state", ("", "TRUE", "ok")),
        *((name, ("",)) for name in ("method", "encoder", "dataset", "tap", "pool", "evaluator", "protocol", "metric")),
    ],
)
def test_field_without_one_meaning_is_refused_with_row_and_column(column: str, texts: tuple[str, ...]) -> None:
    for text in texts:
        with pytest.raises(CsvError, match=rf"^row 3, column {column}: "):
            read_baseline_csv(edited(set_field(column, text, row=1)))


def test_percentage_without_a_sign_is_refused_with_what_to_write() -> None:
    with pytest.raises(
        CsvError, match=r"row 2, column value: '97.2222' is not between 0 and 1, as accuracy@k=20 must be; .*%"
    ):
        read_baseline_csv(edited(set_field("value", "97.2222")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (CSV.replace("aet", "\xe4et").encode("latin-1"), "row 2: byte 0xe4 is not UTF-8"),
        (CSV.encode().replace(b"aet", b"a\0t", 1), "row 2: a NUL byte"),
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (with_header(lambda text: text.replace("value", "score")), "row 1: no column called 'value'; available: .*"),
        (with_header(lambda text: text.replace("commit", "value")), "row 1: the column value occurs 2 times"),
        (without("versions"), "row 1: no column called 'versions'"),
        (
            CSV.replace("0.972222", "0,972222").encode(),
            "row 2, .* \\(the row has 27 fields, the header 26; .*decimal comma",
        ),
        (CSV.encode()[:-60], "row 4 is cut off"),
        (CSV.replace("aet", '"a"et', 1).encode(), "row 2: .* check its quotes"),
        (CSV.replace("0.972222,", "0,972222,7", 1).encode(), "row 2"),
        ((CSV + '"open').encode(), "row 5: unexpected end of data"),
    ],
)
def test_file_without_one_meaning_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(CsvError, match=f"^{message}"):
        read_baseline_csv(data)


@pytest.mark.parametrize(
    "label", ["=1+1", "+x", "-x", "@x", "'=x", "'x", "::error::x", "a,b;c", 'a"b', "\u4e2d\u6587", "-", "a b"]
)
def test_label_that_a_spreadsheet_would_compute_is_read_back(label: str) -> None:
    text = records_csv([sample_record(label, dataset=label)])
    assert not re.search(r"(^|,)[=+@]", text)
    (record,) = read_baseline_csv(text.encode()).records
    assert record.labels == (label, "resnet18", label)


# --- rows of one cell -------------------------------------------------------------------------------------------------


def test_repeated_row_is_read_once_with_a_note() -> None:
    table = read_baseline_csv(edited(lambda rows: rows.append(dict(rows[1]))))
    assert contents(table.records) == EXPECTED
    assert table.notes == ("The baseline repeats scores; each was read once: row 5.",)


def test_percentages_are_noted() -> None:
    (note,) = read_baseline_csv(edited(set_field("value", "97.2222%"))).notes
    assert "read as fractions: row 2" in note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "0.9"}, "rows 3 and 5, column value: two values of one score, 0.958333 .* and 0.9"),
        ({"n": "36"}, "rows 3 and 5, column value"),
        ({"seed": "2"}, "rows 3 and 5 are of one cell, but differ in its settings"),
        ({"metric": "accuracy@k=1", "epochs": "7"}, "rows 3 and 5 are of one cell, but differ in its settings"),
        ({"cell": "0123456789"}, "rows 3 and 5 are two cells with equal settings and seed"),
    ],
)
def test_contradicting_rows_are_refused(change: dict[str, str], message: str) -> None:
    with pytest.raises(CsvError, match=f"^{message}"):
        read_baseline_csv(edited(lambda rows: rows.append({**rows[1], **change})))


def test_rows_of_unfinished_cells_are_left_out() -> None:
    table = read_baseline_csv(edited(set_field("state", "smoke", row=1)))
    assert [each.seed for each in table.records] == [0, 2]


# --- bench check ------------------------------------------------------------------------------------------------------


def test_check_against_percentages_is_no_regression(check: Check, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.80)
    (baseline / "digits.jsonl").unlink()
    path = baseline / "digits.csv"
    path.write_text(
        re.sub(r",0\.8(\d*),", lambda match: f",8{match[1][:1] or 0}.{match[1][1:] or 0}%,", path.read_text())
    )
    assert "%" in path.read_text()
    code, body = check()
    assert (code, verdicts_of(body)) == (0, {AET: "no evidence"})
    assert "read as fractions" in " ".join(body["notes"])


def test_check_names_file_row_and_column_of_an_invalid_baseline(bench: Bench, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.80)
    (baseline / "digits.jsonl").unlink()
    path = baseline / "digits.csv"
    path.write_text(re.sub(r",0\.8(\d*),", r",80.\1,", path.read_text(), count=1))
    result = bench("check", "runs", "--baseline", BASELINE)
    assert result.exit_code == 2
    assert f"{BASELINE} cannot be read: row 2, column value: '80." in result.stderr


def test_edited_csv_with_its_records_beside_it_is_noted(check: Check, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.80)
    assert check()[1]["notes"] == []
    path = baseline / "digits.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert check()[1]["notes"] == []
    path.write_text(path.read_text().replace(",0.8,", ",0.9,"))
    code, body = check()
    assert code == 0
    assert body["notes"] == [
        "results/digits.csv was not read: from row 2 on it is not the table of digits.jsonl beside it, which was read."
    ]


def wilson_rows(rows: list[dict[str, str]]) -> None:
    """Intervals as `bench run` writes them."""
    for row in rows:
        low, high = wilson(round(float(row["value"]) * 360), 360)
        row.update(ci_low=f"{low:.6g}", ci_high=f"{high:.6g}")


@pytest.mark.parametrize(
    ("text", "fits"),
    [("0.972222", True), ("0.9722", True), ("97.22%", True), ("0.972122", False), ("0.98", False), ("0.3", False)],
)
def test_value_that_does_not_fit_its_interval_is_named(text: str, fits: bool) -> None:
    def edit(rows: list[dict[str, str]]) -> None:
        wilson_rows(rows)
        rows[0]["value"] = text

    notes = [note for note in read_baseline_csv(edited(edit)).notes if "do not fit" in note]
    assert notes == (
        [] if fits else ["Values of the baseline that do not fit their intervals; edited or damaged: row 2."]
    )
