"""From a request to cells, skips and identities."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest
from light_catalog import (
    PROVIDER,
    CountingDataset,
    ids_of,
    light_catalog,
    light_layout,
    light_plan,
    light_recipe,
    light_request,
    never_called,
    supports_maps,
    titles_of,
    with_methods,
)

from benchmark.api.catalog import Entry, load_catalog
from benchmark.api.cells import Item
from benchmark.api.encoders import EncoderSpec, Layout
from benchmark.api.methods import MethodSpec, Setting
from benchmark.api.recipes import Recipe
from benchmark.errors import UsageError
from benchmark.execution.plan import cell_folder, plan


def test_plan_has_one_cell_per_combination() -> None:
    result = light_plan("aet,untrained", "net,net[blocks=4]", "folder,folder[side=16]", seeds=(0, 3))
    assert len(result.cells) == len({planned.cell.id for planned in result.cells}) == 2 * 2 * 2 * 2
    assert "aet / net[blocks=4] / photos / seed 3" in titles_of(result)


def test_plan_with_too_many_cells_is_refused_before_one_is_made() -> None:
    with pytest.raises(
        UsageError, match=r"8,000,000 cells \(8 combinations .* with 1,000,000 seeds\).* at most 100,000"
    ):
        light_plan("aet,untrained", "net,net[blocks=4]", "folder,folder[side=16]", seeds=range(10**6))


def test_plan_treats_a_default_written_out_as_the_same_cell() -> None:
    written = "aet[transform=projective],aet,aet[gamma=1],aet[gamma=1.0]"
    assert titles_of(light_plan(written)) == ["aet / net / photos / seed 0"]


def test_plan_has_each_cell_once_for_alternatives_and_globs() -> None:
    result = light_plan("aet[transform=affine|projective],a*,aet")
    assert titles_of(result) == ["aet[transform=affine] / net / photos / seed 0", "aet / net / photos / seed 0"]


def test_plan_has_one_cell_for_a_method_without_seed() -> None:
    result = light_plan("weights[path=w.pt],untrained", seeds=(0, 1, 2))
    assert [planned.cell.seed for planned in result.cells] == [None, 0, 1, 2]
    assert result.cells[0].cell.title.endswith("no seed")


def test_plan_asks_for_an_encoders_layout_once_per_dataset() -> None:
    shapes: list[tuple[int, int, int]] = []

    def layout(params: Any, shape: tuple[int, int, int]) -> Layout:
        shapes.append(shape)
        return light_layout(params, shape)

    result = light_catalog()
    encoder = EncoderSpec(name="counts", summary="", build=never_called, layout=layout)
    catalog = dataclasses.replace(result, encoders=(Entry(spec=encoder, provider=PROVIDER),))
    light_plan("aet[gamma=0|1|2|3|4],untrained", "counts", "folder,folder[side=16]", catalog=catalog)
    assert shapes == [(3, 32, 32), (3, 16, 16)]


def test_id_is_the_same_for_the_same_request() -> None:
    assert ids_of("aet,untrained", "net,vec", seeds=(0, 1)) == ids_of("aet,untrained", "net,vec", seeds=(0, 1))
    assert re.fullmatch("[0-9a-f]{64}", ids_of()[0])


@pytest.mark.parametrize("smoke", [False, True])
def test_id_is_the_hash_of_the_settings_as_sorted_json(smoke: bool) -> None:
    words = ("aet[transform=affine],weights[path=w]", "net[blocks=4]", "folder[subset=50]")
    for planned in light_plan(*words, seeds=(0, 12345), smoke=smoke, overrides={"mean": (0.1, 0.2, 1e-7)}).cells:
        cell = planned.cell
        settings: dict[str, object] = {
            "method": {"name": cell.method.name, "params": cell.method.identity},
            "encoder": {"name": cell.encoder.name, "params": cell.encoder.identity},
            "dataset": {"fingerprint": cell.fingerprint, "subset": 50},
            "recipe": dataclasses.asdict(cell.recipe),
            "seed": cell.seed,
        }
        if smoke:
            settings["smoke"] = 4
        text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        assert cell.id == hashlib.sha256(text.encode()).hexdigest()


def test_id_changes_with_every_training_setting() -> None:
    different = {
        "default": ids_of(),
        "seed": ids_of(seeds=(1,)),
        "method": ids_of("local"),
        "method parameters": ids_of("aet[transform=affine]"),
        "encoder": ids_of("aet", "vec"),
        "encoder parameters": ids_of("aet", "net[blocks=4]"),
        "fingerprint": ids_of(catalog=light_catalog(CountingDataset("e" * 64))),
        "subset": ids_of("aet", "net", "folder[subset=50]"),
        "smoke": ids_of(smoke=True),
        "epochs": ids_of(epochs=11),
        **{
            key: ids_of(overrides={key: value})
            for key, value in {
                "batch": 32,
                "optimizer": "adamw",
                "lr": 0.01,
                "momentum": 0.5,
                "nesterov": False,
                "beta1": 0.5,
                "beta2": 0.9,
                "weight_decay": 0.1,
                "schedule": "cosine",
                "milestones": (3,),
                "factor": 0.1,
                "linear_from": 7,
                "final_lr": 1e-5,
                "warmup": 1,
                "drop_last": False,
                "augment": "none",
                "pad": 2,
                "mean": (0.5, 0.5, 0.5),
                "std": (0.5, 0.5, 0.5),
                "clip": 1,
            }.items()
        },
    }
    assert set(Recipe.__dataclass_fields__) <= set(different), "add the new recipe key here"
    assert len({ids[0] for ids in different.values()}) == len(different)


def test_id_ignores_what_does_not_change_the_training() -> None:
    ids = ids_of()
    assert ids_of(data_dir=Path("/elsewhere")) == ids
    assert ids_of("aet", "net", "folder[path=/home/ann/photos]") == ids
    assert ids_of("aet", "net", "folder[name=other,path=/x]") == ids
    assert ids_of("aet", "net", "folder", "linear,knn[k=5]") == ids
    assert ids_of(taps="all") == ids_of(taps=("conv1",)) == ids
    assert ids_of(catalog=light_catalog(version=7)) == ids
    assert ids_of(overrides={"batch": 64, "epochs": 10}) == ids
    assert ids_of(budget="paper") == ids, "the resolved numbers are hashed, not the word"


def test_id_ignores_the_order_of_the_request() -> None:
    assert set(ids_of("aet,untrained", "vec,net", seeds=(1, 0))) == set(
        ids_of("untrained,aet", "net,vec", seeds=(0, 1))
    )


def test_subset_is_in_the_label_and_in_the_methods_setting() -> None:
    asked: list[Setting] = []
    catalog = light_catalog()
    spy = dataclasses.replace(catalog.methods[0].spec, supports=asked.append)
    catalog = dataclasses.replace(catalog, methods=(Entry(spec=spy, provider=PROVIDER),))
    cell = light_plan("aet", "net", "folder[subset=100|50]", catalog=catalog).cells[1].cell
    assert (cell.subset, cell.dataset.label) == (50, "photos[subset=50]")
    assert [(setting.num_images, setting.num_classes) for setting in asked] == [(100, 3), (50, 3)]


def test_skip_names_the_combination_and_the_reason() -> None:
    result = light_plan("aet,local", "big,vec")
    assert {(skip.title, skip.reason) for skip in result.skips} == {
        ("aet / big / photos", "images have 32 pixels on a side, but big needs 64"),
        ("local / big / photos", "images have 32 pixels on a side, but big needs 64"),
        ("local / vec / photos", "needs a local map"),
    }
    assert titles_of(result) == ["aet / vec / photos / seed 0"]


def test_skip_if_the_encoder_has_no_layout_for_the_images() -> None:
    result = light_plan("aet", "vec", catalog=light_catalog(CountingDataset(shape=(3, 32, 16))))
    assert [skip.reason for skip in result.skips] == ["square images only"]


def test_skip_if_there_is_no_paper_recipe() -> None:
    result = light_plan("aet", "net,vec", budget="paper")
    assert titles_of(result) == ["aet / net / photos / seed 0"]
    assert [skip.reason for skip in result.skips] == ["no paper recipe for vec"]


def test_skip_of_installed_aet_on_gray_images_with_the_paper_budget() -> None:
    request = dataclasses.replace(light_request("aet", "blocknet,resnet18", "digits"), budget="paper")
    result = plan(request, load_catalog())
    assert not result.cells
    assert all("aet has no paper recipe" in skip.reason for skip in result.skips)
    assert len(result.skips) == 2


def test_skip_is_reported_once_for_all_seeds() -> None:
    assert len(light_plan("local", "vec", seeds=(0, 1, 2)).skips) == 1


def taps_of(*words: str, **more: Any) -> list[str]:
    return [score.tap for score in light_plan(*words, **more).cells[0].scores]


def test_taps_are_probe_and_output_by_default() -> None:
    assert taps_of("aet", "net[blocks=4]") == ["conv2", "conv4"]
    assert taps_of("aet", "net[blocks=2]") == ["conv2"]


def test_taps_come_in_depth_order() -> None:
    assert taps_of(taps="all") == ["conv1", "conv2", "conv3"]
    assert taps_of(taps=("conv3", "conv1")) == ["conv1", "conv3"]


def test_tap_that_an_encoder_lacks_is_noted() -> None:
    planned = light_plan(taps=("conv1", "conv9")).cells[0]
    assert [score.tap for score in planned.scores] == ["conv1"]
    assert planned.notes == ("net has no tap 'conv9'; it has conv1, conv2, conv3",)


def test_skip_if_an_encoder_has_none_of_the_taps() -> None:
    result = light_plan("aet", "net,vec", taps=("conv1",))
    assert titles_of(result) == ["aet / net / photos / seed 0"]
    assert [(skip.title, skip.reason) for skip in result.skips] == [
        ("aet / vec / photos", "vec has no tap 'conv1'; it has fc")
    ]


def test_taps_of_a_methods_own_encoder_are_always_its_default() -> None:
    result = light_plan("pixels", taps=("conv1",))
    assert [score.tap for score in result.cells[0].scores] == ["fc"]


def test_scores_are_every_evaluator_at_every_tap_once() -> None:
    scores = light_plan("aet", "net", "folder", "knn,linear,knn[k=5],k*,knn[pool=flat],knn[k=20]").cells[0].scores
    assert [(s.tap, s.evaluator.label, s.pool, s.protocol) for s in scores] == [
        (tap, evaluator, pool, protocol)
        for tap in ("conv2", "conv3")
        for evaluator, pool, protocol in (
            ("knn", "average", "knn@1"),
            ("linear", "average", "linear@2"),
            ("knn[k=5]", "average", "knn@1"),
            ("knn", "flat", "knn@1"),
        )
    ]


UNSAFE_LABELS = [
    "..",
    "../../etc/passwd",
    "/absolute",
    "a/b\\c",
    "C:\\Windows",
    "my photos",
    "Fotos für Jürgen",
    "日本語",
    "-",
    "",
    ".hidden",
    "name\nwith\0control",
    "con",
    "x" * 500,
    "a" * 39 + "-.-" + "b" * 40,
    "…/..",
    "aet[transform=affine,word='a b']",
    "%PATH%;rm -rf *",
    "trailing. . .",
]


@pytest.mark.parametrize("text", UNSAFE_LABELS)
def test_folder_is_one_safe_name_for_any_label(text: str, tmp_path: Path) -> None:
    cell = light_plan().cells[0].cell
    for kind in ("method", "encoder", "dataset"):
        name = cell_folder(dataclasses.replace(cell, **{kind: Item(name="x", label=text)}))
        assert re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*-s0-[0-9a-f]{10}", name), name
        assert len(name) < 150
        assert ".." not in name
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
        assert PureWindowsPath(name).name == name
        (tmp_path / name).mkdir()


def test_folder_is_named_after_its_cell() -> None:
    result = light_plan("aet[transform=affine],weights[path=w]", "net", "folder[name=Holiday Photos,subset=50]")
    first, second = (cell_folder(planned.cell) for planned in result.cells)
    assert first == f"aet-transform-affine-net-holiday-photos-subset-50-s0-{result.cells[0].cell.id[:10]}"
    assert second.startswith("weights-sha256-0123456789ab-net-holiday-photos-subset-50-snone-")


def test_folder_differs_between_cells_with_equal_labels() -> None:
    result = light_plan("aet", overrides={"lr": 0.1}).cells + light_plan("aet").cells
    assert len({cell_folder(planned.cell) for planned in result}) == 2


def test_quick_recipe_of_aet_does_not_mirror_digits() -> None:
    cell = plan(light_request("aet", "resnet18", "digits"), load_catalog()).cells[0].cell
    assert (cell.recipe.augment, cell.recipe.pad, cell.recipe.epochs) == ("crop", 1, 6)


def test_skip_if_a_plugins_recipe_raises() -> None:
    def recipe(setting: Setting) -> Recipe:
        raise KeyError("lr")

    catalog = with_methods((MethodSpec(name="broken", summary="", build=never_called, recipe=recipe), "one"))
    result = light_plan("broken,aet", catalog=catalog)
    assert titles_of(result) == ["aet / net / photos / seed 0"]
    assert [(skip.title, skip.reason) for skip in result.skips] == [
        ("broken / net / photos", "a plugin raised KeyError: 'lr'")
    ]


def test_skip_has_its_three_labels_whatever_characters_they_hold() -> None:
    result = light_plan("local", "net", "folder[name='day / night']")
    assert result.skips == ()
    refused = with_methods(
        (MethodSpec(name="no", summary="", build=never_called, supports=lambda setting: "no"), "one")
    )
    (skip,) = light_plan("no", "net", "folder[name='day / night']", catalog=refused).skips
    assert skip.combination == ("no", "net", "day / night")


def test_plan_calls_plugins_as_often_for_many_seeds_as_for_one() -> None:
    calls: list[str] = []

    def supports(setting: Setting) -> str | None:
        calls.append("supports")
        return supports_maps(setting)

    def recipe(setting: Setting) -> Recipe:
        calls.append("recipe")
        return light_recipe(setting)

    def layout(params: Any, shape: tuple[int, int, int]) -> Layout:
        calls.append("layout")
        return light_layout(params, shape)

    method = MethodSpec(name="counts", summary="", build=never_called, supports=supports, recipe=recipe)
    encoder = EncoderSpec(name="counts", summary="", build=never_called, layout=layout)
    catalog = dataclasses.replace(
        light_catalog(),
        methods=(Entry(spec=method, provider=PROVIDER),),
        encoders=(Entry(spec=encoder, provider=PROVIDER),),
    )
    for seeds in (1, 50):
        assert len(light_plan("counts", "counts", seeds=tuple(range(seeds)), catalog=catalog).cells) == seeds
    assert calls == ["layout", "supports", "recipe"] * 2
