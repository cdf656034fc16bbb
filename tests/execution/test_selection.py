"""From the names of a request to plugins with bound parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
from light_catalog import (
    CountingDataset,
    light_catalog,
    light_plan,
    light_request,
    never_called,
    titles_of,
    with_methods,
)

from benchmark.api.catalog import load_catalog
from benchmark.api.grammar import parse_seeds
from benchmark.api.methods import MethodSpec
from benchmark.errors import DataError, UnknownNameError, UsageError
from benchmark.execution.plan import plan


def test_floors_come_last_and_once() -> None:
    result = light_plan("aet", "net,vec", floors=True)
    assert titles_of(result) == [
        "aet / net / photos / seed 0",
        "aet / vec / photos / seed 0",
        "pixels / - / photos / no seed",
        "untrained / net / photos / seed 0",
        "untrained / vec / photos / seed 0",
    ]
    assert titles_of(light_plan("pixels,aet,untrained", "net,vec", floors=True))[:1] == [
        "pixels / - / photos / no seed"
    ]
    assert len(light_plan("pixels,aet,untrained", "net,vec", floors=True).cells) == 5


def test_floors_can_be_left_out() -> None:
    assert titles_of(light_plan("aet", floors=False)) == ["aet / net / photos / seed 0"]


def test_dataset_is_described_once_for_all_cells() -> None:
    describe = CountingDataset()
    result = light_plan(
        "aet[gamma=0|1|2|3|4],untrained",
        "net[blocks=2|3|4|5],vec",
        seeds=parse_seeds("30"),
        catalog=light_catalog(describe),
        data_dir=Path("there"),
    )
    assert len(result.cells) == 6 * 5 * 30
    assert describe.calls == [Path("there")]


def test_item_of_a_file_has_a_checksum_as_identity_and_a_short_label() -> None:
    item = light_plan("weights[path=/home/ann/w.pt]").cells[0].cell.method
    assert item.label == "weights[sha256=0123456789ab]"
    assert item.params == {"path": "/home/ann/w.pt"}
    assert item.identity == {"sha256": "0123456789abcdef" * 4}


def test_item_has_version_and_provider_outside_its_identity() -> None:
    cell = light_plan(catalog=light_catalog(version=7)).cells[0].cell
    assert (cell.method.version, cell.encoder.version, cell.dataset.version) == (7, 7, 7)
    assert cell.method.provider == "light"


def test_item_of_a_dataset_has_no_path_in_its_identity() -> None:
    item = light_plan("aet", "net", "folder[path=/home/ann/cats]").cells[0].cell.dataset
    assert item.label == "cats"
    assert "/home/ann" not in str(item.identity)
    assert item.params["path"] == "/home/ann/cats"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("aets",), "no method called 'aets'.*did you mean 'aet'"),
        (("aet", "nett"), "no encoder called 'nett'.*did you mean 'net'"),
        (("aet", "net", "fodler"), "no dataset called 'fodler'.*did you mean 'folder'"),
        (("aet", "net", "folder", "kn"), "no evaluator called 'kn'.*did you mean 'knn'"),
        (("aet[transfrom=affine]",), "no parameter of method 'aet' called 'transfrom'.*did you mean 'transform'"),
        (("aet", "net[block=3]"), "no parameter of encoder 'net' called 'block'.*did you mean 'blocks'"),
        (("aet", "net", "folder[subst=5]"), "no parameter of dataset 'folder' called 'subst'.*did you mean 'subset'"),
        (("aet", "net", "folder", "knn[pol=flat]"), "no parameter of evaluator 'knn' called 'pol'.*mean 'pool'"),
        (("z*",), "no method called 'z"),
    ],
)
def test_unknown_name_is_rejected_with_the_nearest_one(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        light_plan(*words)


def test_glob_skips_a_dataset_that_is_not_usable() -> None:
    describe = CountingDataset(shape=(3, 6, 6))
    result = light_plan("aet", "net", "*", catalog=light_catalog(describe))
    assert not result.cells
    assert result.skips[0].title == "dataset folder"
    assert "6 x 6" in result.skips[0].reason


def test_images_below_eight_pixels_are_rejected_with_their_size() -> None:
    with pytest.raises(DataError, match=r"'photos' has images of 12 x 7 pixels, but they must have 8 or more"):
        light_plan(catalog=light_catalog(CountingDataset(shape=(1, 7, 12))))
    assert light_plan("aet", "net", "folder[side=8]").cells


@pytest.mark.parametrize("subset", ["0", "-5", "2.5", "true", "half", "101", "2"])
def test_impossible_subset_is_rejected_with_the_possible_range(subset: str) -> None:
    with pytest.raises(UsageError, match=r"write a number of training images from 3 .* to 100"):
        light_plan("aet", "net", f"folder[subset={subset}]")


def test_evaluator_without_pooling_rejects_a_pooling() -> None:
    with pytest.raises(UsageError, match=r"fc2.*does not take pool=flat; leave pool out"):
        plan(light_request("aet", "blocknet", "digits", "fc2[pool=flat]"), load_catalog())
    (cell,) = plan(light_request("aet", "blocknet", "digits", "fc2,fc2[pool=none],svm"), load_catalog()).cells
    assert {(score.evaluator.label, score.pool) for score in cell.scores} == {("fc2", "none"), ("svm", "flat")}


def test_unknown_pooling_is_rejected() -> None:
    with pytest.raises(UsageError, match="does not take pool=max; write pool=average or pool=flat"):
        light_plan("aet", "net", "folder", "knn[pool=max]")


def test_one_name_from_two_distributions_is_rejected() -> None:
    twice = MethodSpec(name="twice", summary="", build=never_called)
    catalog = with_methods((twice, "one"), (twice, "two"))
    with pytest.raises(UsageError, match=r"from one and from two.*its own --out"):
        light_plan("one:twice,two:twice", catalog=catalog)
    assert titles_of(light_plan("two:twice", catalog=catalog)) == ["twice / net / photos / seed 0"]


def test_identity_that_raises_is_reported_with_its_distribution() -> None:
    def identity(params: object) -> dict[str, object]:
        raise ZeroDivisionError("no images")

    catalog = with_methods((MethodSpec(name="broken", summary="", build=never_called, identity=identity), "one"))
    with pytest.raises(UsageError, match="method 'broken' of one 1 raised ZeroDivisionError during planning: no"):
        light_plan("broken", catalog=catalog)
