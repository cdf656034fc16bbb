"""From a request to cells, skips and identities."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import pytest

from benchmark.api.catalog import Catalog, Entry, Provider, load_catalog
from benchmark.api.cells import Item
from benchmark.api.datasets import DatasetInfo, DatasetSpec
from benchmark.api.encoders import EncoderSpec, Layout, Tap
from benchmark.api.evaluators import EvaluatorSpec, Metric
from benchmark.api.grammar import parse_items, parse_seeds
from benchmark.api.methods import MethodSpec, Setting
from benchmark.api.recipes import Recipe, stretched
from benchmark.errors import DataError, UnknownNameError, UnsupportedError, UsageError
from benchmark.execution import plan as plans
from benchmark.execution.plan import cell_folder, plan
from benchmark.execution.request import Plan, Request

PROVIDER = Provider(plugin="light", distribution="light", version="1")


@dataclass(frozen=True, kw_only=True)
class MethodParams:
    """A choice and a number."""

    transform: Literal["projective", "affine"] = "projective"
    gamma: float = 1


@dataclass(frozen=True, kw_only=True)
class EncoderParams:
    """A number."""

    blocks: int = 3


@dataclass(frozen=True, kw_only=True)
class FolderParams:
    """A path that is no part of the identity, as of the folder dataset."""

    path: str = ""
    name: str = ""
    side: int = 32


@dataclass(frozen=True, kw_only=True)
class FileParams:
    """A path, hashed by content."""

    path: str = ""


@dataclass(frozen=True, kw_only=True)
class KnnParams:
    """A number."""

    k: int = 20


def _layout(params: Any, shape: tuple[int, int, int]) -> Layout:
    taps = tuple(Tap(name=f"conv{n + 1}", kind="map", shape=(8, 4, 4)) for n in range(getattr(params, "blocks", 3)))
    return Layout(taps=taps, output=taps[-1].name, probe="conv2")


def _vector_layout(params: Any, shape: tuple[int, int, int]) -> Layout:
    if shape[1] != shape[2]:
        raise UnsupportedError("square images only")
    return Layout(taps=(Tap(name="fc", kind="vector", shape=(4,)),), output="fc", probe="fc")


def _recipe(setting: Setting) -> Recipe:
    if setting.budget == "paper" and setting.encoder != "net":
        raise UnsupportedError(f"no paper recipe for {setting.encoder}")
    return Recipe(epochs=10, schedule="milestones", milestones=(4, 8), warmup=2)


def _supports(setting: Setting) -> str | None:
    return "needs a local map" if setting.layout.tap(setting.layout.output).kind == "vector" else None


def _nothing(*arguments: object) -> Any:
    raise AssertionError("a plan builds and loads nothing")


class CountingFolder:
    """A dataset's describe that counts how often it is asked."""

    def __init__(self, fingerprint: str = "f" * 64, shape: tuple[int, int, int] | None = None) -> None:
        self.asked: list[Path] = []
        self.fingerprint = fingerprint
        self.shape = shape

    def __call__(self, params: FolderParams, data_dir: Path) -> DatasetInfo:
        self.asked.append(data_dir)
        return DatasetInfo(
            label=params.name or PurePosixPath(params.path).name or "photos",
            fingerprint=f"{self.fingerprint}-{params.side}",
            image_shape=self.shape or (3, params.side, params.side),
            num_train=100,
            num_test=20,
            class_names=("a", "b", "c"),
        )


def _catalog(describe: CountingFolder | None = None, **versions: int) -> Catalog:
    version = versions.get("version", 1)
    pixels = EncoderSpec(name="-", summary="pixels", build=_nothing, layout=_vector_layout, min_side=1)
    methods = (
        MethodSpec(name="aet", summary="", build=_nothing, params=MethodParams, recipe=_recipe, version=version),
        MethodSpec(name="local", summary="", build=_nothing, supports=_supports),
        MethodSpec(
            name="weights",
            summary="",
            build=_nothing,
            params=FileParams,
            trains=False,
            seeded=False,
            identity=lambda params: {"sha256": "0123456789abcdef" * 4} if params.path else {},
        ),
        MethodSpec(
            name="pixels", summary="", build=_nothing, trains=False, seeded=False, floor=True, own_encoder=pixels
        ),
        MethodSpec(name="untrained", summary="", build=_nothing, trains=False, floor=True),
    )
    encoders = (
        EncoderSpec(name="net", summary="", build=_nothing, layout=_layout, params=EncoderParams, version=version),
        EncoderSpec(name="big", summary="", build=_nothing, layout=_layout, min_side=64),
        EncoderSpec(name="vec", summary="", build=_nothing, layout=_vector_layout),
    )
    evaluators = (
        EvaluatorSpec(name="knn", summary="", evaluate=_nothing, metrics=(Metric(name="accuracy"),), params=KnnParams),
        EvaluatorSpec(name="linear", summary="", evaluate=_nothing, metrics=(Metric(name="accuracy"),), version=2),
    )
    folder = DatasetSpec(
        name="folder",
        summary="",
        describe=describe or CountingFolder(),
        load=_nothing,
        params=FolderParams,
        version=version,
    )

    def entries(specs: Sequence[Any]) -> Any:
        return tuple(Entry(spec=spec, provider=PROVIDER) for spec in specs)

    return Catalog(
        methods=entries(methods),
        encoders=entries(encoders),
        evaluators=entries(evaluators),
        datasets=entries([folder]),
        plugins=(PROVIDER,),
    )


def _request(
    methods: str = "aet", encoders: str = "net", datasets: str = "folder", evaluators: str = "knn", **more: Any
) -> Request:
    more.setdefault("floors", False)
    return Request(
        methods=parse_items([methods]),
        encoders=parse_items([encoders]),
        datasets=parse_items([datasets]),
        evaluators=parse_items([evaluators]),
        **more,
    )


def _plan(*words: str, catalog: Catalog | None = None, **more: Any) -> Plan:
    return plan(_request(*words, **more), catalog or _catalog())


def _ids(*words: str, **more: Any) -> list[str]:
    return [planned.cell.id for planned in _plan(*words, **more).cells]


def _titles(found: Plan) -> list[str]:
    return [planned.cell.title for planned in found.cells]


# --- cells ------------------------------------------------------------------------------------------------------------


def test_every_combination_is_a_cell() -> None:
    found = _plan("aet,untrained", "net,net[blocks=4]", "folder,folder[side=16]", seeds=(0, 3))
    assert len(found.cells) == len({planned.cell.id for planned in found.cells}) == 2 * 2 * 2 * 2
    assert "aet / net[blocks=4] / photos / seed 3" in _titles(found)


def test_the_default_written_out_is_the_same_cell() -> None:
    written = "aet[transform=projective],aet,aet[gamma=1],aet[gamma=1.0]"
    assert _titles(_plan(written)) == ["aet / net / photos / seed 0"]


def test_alternatives_and_globs_plan_each_cell_once() -> None:
    found = _plan("aet[transform=affine|projective],a*,aet")
    assert _titles(found) == ["aet[transform=affine] / net / photos / seed 0", "aet / net / photos / seed 0"]


def test_a_method_without_chance_has_one_cell_whatever_the_seeds() -> None:
    found = _plan("weights[path=w.pt],untrained", seeds=(0, 1, 2))
    assert [planned.cell.seed for planned in found.cells] == [None, 0, 1, 2]
    assert found.cells[0].cell.title.endswith("no seed")


def test_floors_join_last_and_once() -> None:
    found = _plan("aet", "net,vec", floors=True)
    assert _titles(found) == [
        "aet / net / photos / seed 0",
        "aet / vec / photos / seed 0",
        "pixels / - / photos / no seed",
        "untrained / net / photos / seed 0",
        "untrained / vec / photos / seed 0",
    ]
    assert _titles(_plan("pixels,aet,untrained", "net,vec", floors=True))[:1] == ["pixels / - / photos / no seed"]
    assert len(_plan("pixels,aet,untrained", "net,vec", floors=True).cells) == 5


def test_without_floors_there_is_what_was_asked_for() -> None:
    assert _titles(_plan("aet", floors=False)) == ["aet / net / photos / seed 0"]


def test_a_dataset_is_described_once_however_many_cells_there_are() -> None:
    describe = CountingFolder()
    found = _plan(
        "aet[gamma=0|1|2|3|4],untrained",
        "net[blocks=2|3|4|5],vec",
        seeds=parse_seeds("30"),
        catalog=_catalog(describe),
        data_dir=Path("there"),
    )
    assert len(found.cells) == 6 * 5 * 30
    assert describe.asked == [Path("there")]


def _counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[object]:
    """What a function of the room is called with, from now on."""
    calls: list[object] = []
    real = getattr(plans, name)

    def noted(*arguments: object, **more: object) -> object:
        calls.append(arguments)
        return real(*arguments, **more)

    monkeypatch.setattr(plans, name, noted)
    return calls


def test_more_seeds_ask_no_plugin_and_resolve_no_setting_again(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("_json", "_setting", "_taps", "_check_recipe", "bind", "_slug")
    counts = []
    for seeds in (1, 50):
        with monkeypatch.context() as patch:
            calls = {name: _counted(patch, name) for name in names}
            found = _plan("aet,aet[gamma=2],untrained", "net,net[blocks=4]", seeds=tuple(range(seeds)))
        assert len(found.cells) == 3 * 2 * seeds
        counts.append({name: len(each) for name, each in calls.items()})
    assert counts[0] == counts[1]
    assert counts[0]["_setting"] == 3 * 2, "one a combination"
    assert counts[0]["_check_recipe"] == 2, "one for what trains, one for what does not"


def test_an_encoder_is_laid_out_once_for_each_dataset_however_many_methods_there_are() -> None:
    shapes: list[tuple[int, int, int]] = []

    def layout(params: Any, shape: tuple[int, int, int]) -> Layout:
        shapes.append(shape)
        return _layout(params, shape)

    found = _catalog()
    encoder = EncoderSpec(name="counts", summary="", build=_nothing, layout=layout)
    catalog = dataclasses.replace(found, encoders=(Entry(spec=encoder, provider=PROVIDER),))
    _plan("aet[gamma=0|1|2|3|4],untrained", "counts", "folder,folder[side=16]", catalog=catalog)
    assert shapes == [(3, 32, 32), (3, 16, 16)]


def test_a_folders_name_is_spelled_once_for_each_label() -> None:
    plans._slug.cache_clear()
    cells = [planned.cell for planned in _plan("aet,untrained", "net,vec", seeds=tuple(range(25))).cells]
    assert len({cell_folder(cell) for cell in cells}) == 4 * 25
    assert plans._slug.cache_info().misses == len({"aet", "untrained", "net", "vec", "photos"})


def test_what_is_hashed_of_a_file_is_its_content_and_its_label_is_short() -> None:
    item = _plan("weights[path=/home/ann/w.pt]").cells[0].cell.method
    assert item.label == "weights[sha256=0123456789ab]"
    assert item.params == {"path": "/home/ann/w.pt"}
    assert item.identity == {"sha256": "0123456789abcdef" * 4}


# --- identity ---------------------------------------------------------------------------------------------------------


def test_the_same_request_gives_the_same_ids() -> None:
    assert _ids("aet,untrained", "net,vec", seeds=(0, 1)) == _ids("aet,untrained", "net,vec", seeds=(0, 1))
    assert re.fullmatch("[0-9a-f]{64}", _ids()[0])


@pytest.mark.parametrize("smoke", [False, True])
def test_an_id_is_the_hash_of_the_settings_as_sorted_json_without_spaces(smoke: bool) -> None:
    words = ("aet[transform=affine],weights[path=w]", "net[blocks=4]", "folder[subset=50]")
    for planned in _plan(*words, seeds=(0, 12345), smoke=smoke, overrides={"mean": (0.1, 0.2, 1e-7)}).cells:
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


def test_every_training_setting_moves_the_id() -> None:
    different = {
        "as it is": _ids(),
        "seed": _ids(seeds=(1,)),
        "method": _ids("local"),
        "method parameters": _ids("aet[transform=affine]"),
        "encoder": _ids("aet", "vec"),
        "encoder parameters": _ids("aet", "net[blocks=4]"),
        "fingerprint": _ids(catalog=_catalog(CountingFolder("e" * 64))),
        "subset": _ids("aet", "net", "folder[subset=50]"),
        "smoke": _ids(smoke=True),
        "epochs": _ids(epochs=11),
        **{
            key: _ids(overrides={key: value})
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
    assert set(Recipe.__dataclass_fields__) <= set(different), "a new recipe key is to be tried here"
    assert len({ids[0] for ids in different.values()}) == len(different)


def test_what_does_not_change_the_training_does_not_move_the_id() -> None:
    ids = _ids()
    assert _ids(data_dir=Path("/elsewhere")) == ids
    assert _ids("aet", "net", "folder[path=/home/ann/photos]") == ids
    assert _ids("aet", "net", "folder[name=other,path=/x]") == ids
    assert _ids("aet", "net", "folder", "linear,knn[k=5]") == ids
    assert _ids(taps="all") == _ids(taps=("conv1",)) == ids
    assert _ids(catalog=_catalog(version=7)) == ids
    assert _ids(overrides={"batch": 64, "epochs": 10}) == ids
    assert _ids(budget="paper") == ids, "the word is not hashed, the resolved numbers are"


def test_order_of_the_request_does_not_move_ids() -> None:
    assert set(_ids("aet,untrained", "vec,net", seeds=(1, 0))) == set(_ids("untrained,aet", "net,vec", seeds=(0, 1)))


def test_the_law_and_provider_are_kept_beside_the_identity() -> None:
    cell = _plan(catalog=_catalog(version=7)).cells[0].cell
    assert (cell.method.version, cell.encoder.version, cell.dataset.version) == (7, 7, 7)
    assert cell.method.provider == "light"


def test_a_path_is_never_part_of_what_is_hashed_of_a_dataset() -> None:
    item = _plan("aet", "net", "folder[path=/home/ann/cats]").cells[0].cell.dataset
    assert item.label == "cats"
    assert "/home/ann" not in str(item.identity)
    assert item.params["path"] == "/home/ann/cats"


# --- names ------------------------------------------------------------------------------------------------------------


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
def test_an_unknown_name_is_told_with_the_nearest(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        _plan(*words)


@pytest.mark.parametrize("methods", ["aet", "untrained", "local"])
def test_an_unknown_recipe_key_is_an_error_even_where_nothing_is_trained(methods: str) -> None:
    with pytest.raises(UnknownNameError, match="no recipe key called 'learning_rate'") as caught:
        _plan(methods, "vec", overrides={"learning_rate": 0.1})
    assert "batch, beta1" in str(caught.value)


@pytest.mark.parametrize("methods", ["aet", "untrained", "local"])
def test_a_recipe_value_of_the_wrong_type_is_an_error_even_where_nothing_is_trained(methods: str) -> None:
    with pytest.raises(UsageError, match=r"the recipe \(--set\): lr=fast cannot be; lr is a number"):
        _plan(methods, "vec", overrides={"lr": "fast"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch", 1),
        ("lr", 0),
        ("lr", -1),
        ("lr", float("nan")),
        ("pad", -1),
        ("warmup", -1),
        ("weight_decay", -0.1),
        ("momentum", 1),
        ("beta2", 1.5),
        ("clip", 0),
        ("std", (0.2, 0.0, 0.2)),
    ],
)
def test_a_recipe_that_cannot_train_is_refused_before_anything_runs(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=key):
        _plan(overrides={key: value})


def test_augment_none_is_a_word_and_clip_none_is_nothing() -> None:
    recipe = _plan(overrides={"augment": None, "clip": None}).cells[0].cell.recipe
    assert (recipe.augment, recipe.clip) == ("none", None)


def test_only_a_glob_leaves_out_what_cannot_be_had() -> None:
    describe = CountingFolder(shape=(3, 6, 6))
    found = _plan("aet", "net", "*", catalog=_catalog(describe))
    assert not found.cells
    assert found.skips[0].title == "dataset folder"
    assert "6 x 6" in found.skips[0].reason


def test_images_below_eight_pixels_are_refused_with_their_size() -> None:
    with pytest.raises(DataError, match=r"'photos' has images of 12 x 7 pixels; the smallest side is 8"):
        _plan(catalog=_catalog(CountingFolder(shape=(1, 7, 12))))
    assert _plan("aet", "net", "folder[side=8]").cells


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        ("0", "1 or more"),
        ("-5", "1 or more"),
        ("2.5", "1 or more"),
        ("true", "1 or more"),
        ("half", "1 or more"),
        ("101", "more than its 100 training images"),
        ("2", "fewer than its 3 classes"),
    ],
)
def test_a_subset_that_cannot_be_is_refused(subset: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _plan("aet", "net", f"folder[subset={subset}]")


def test_a_subset_is_shown_and_is_what_methods_are_asked_about() -> None:
    asked: list[Setting] = []
    catalog = _catalog()
    spy = dataclasses.replace(catalog.methods[0].spec, supports=asked.append)
    catalog = dataclasses.replace(catalog, methods=(Entry(spec=spy, provider=PROVIDER),))
    cell = _plan("aet", "net", "folder[subset=100|50]", catalog=catalog).cells[1].cell
    assert (cell.subset, cell.dataset.label) == (50, "photos[subset=50]")
    assert [(setting.num_images, setting.num_classes) for setting in asked] == [(100, 3), (50, 3)]


# --- skips ------------------------------------------------------------------------------------------------------------


def test_a_skip_says_what_and_why() -> None:
    found = _plan("aet,local", "big,vec")
    assert {(skip.title, skip.reason) for skip in found.skips} == {
        ("aet / big / photos", "images of 32 pixels; big takes 64"),
        ("local / big / photos", "images of 32 pixels; big takes 64"),
        ("local / vec / photos", "needs a local map"),
    }
    assert _titles(found) == ["aet / vec / photos / seed 0"]


def test_a_layout_that_cannot_be_is_a_skip() -> None:
    found = _plan("aet", "vec", catalog=_catalog(CountingFolder(shape=(3, 32, 16))))
    assert [skip.reason for skip in found.skips] == ["square images only"]


def test_a_missing_paper_recipe_is_a_skip_with_the_plugins_words() -> None:
    found = _plan("aet", "net,vec", budget="paper")
    assert _titles(found) == ["aet / net / photos / seed 0"]
    assert [skip.reason for skip in found.skips] == ["no paper recipe for vec"]


def test_the_installed_aet_has_a_paper_recipe_for_blocknet_on_color_only() -> None:
    request = dataclasses.replace(_request("aet", "blocknet,resnet18", "digits"), budget="paper")
    found = plan(request, load_catalog())
    assert not found.cells
    assert all("aet has no paper recipe" in skip.reason for skip in found.skips)
    assert len(found.skips) == 2


def test_normalization_for_another_number_of_channels_is_a_skip() -> None:
    found = _plan(overrides={"mean": (0.5,)})
    assert [skip.reason for skip in found.skips] == ["the recipe's mean has 1 numbers for images of 3 channels"]


def test_skips_of_several_seeds_are_told_once() -> None:
    assert len(_plan("local", "vec", seeds=(0, 1, 2)).skips) == 1


# --- taps and scores --------------------------------------------------------------------------------------------------


def _taps(*words: str, **more: Any) -> list[str]:
    return [score.tap for score in _plan(*words, **more).cells[0].scores]


def test_by_default_the_probed_tap_and_the_output_are_scored() -> None:
    assert _taps("aet", "net[blocks=4]") == ["conv2", "conv4"]
    assert _taps("aet", "net[blocks=2]") == ["conv2"]


def test_all_taps_and_named_taps_come_in_depth_order() -> None:
    assert _taps(taps="all") == ["conv1", "conv2", "conv3"]
    assert _taps(taps=("conv3", "conv1")) == ["conv1", "conv3"]


def test_a_tap_that_an_encoder_lacks_is_noted() -> None:
    planned = _plan(taps=("conv1", "conv9")).cells[0]
    assert [score.tap for score in planned.scores] == ["conv1"]
    assert planned.notes == ("net has no tap 'conv9'; it has conv1, conv2, conv3",)


def test_a_combination_with_none_of_the_named_taps_is_skipped_not_trained_for_nothing() -> None:
    found = _plan("aet", "net,vec", taps=("conv1",))
    assert _titles(found) == ["aet / net / photos / seed 0"]
    assert [(skip.title, skip.reason) for skip in found.skips] == [
        ("aet / vec / photos", "vec has no tap 'conv1'; it has fc")
    ]


def test_an_encoder_of_the_methods_own_keeps_its_taps() -> None:
    found = _plan("pixels", taps=("conv1",))
    assert [score.tap for score in found.cells[0].scores] == ["fc"]


def test_scores_are_every_evaluator_at_every_tap_each_once() -> None:
    scores = _plan("aet", "net", "folder", "knn,linear,knn[k=5],k*,knn[pool=flat],knn[k=20]").cells[0].scores
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


def test_an_evaluator_without_a_choice_of_pooling_refuses_one() -> None:
    with pytest.raises(UsageError, match=r"fc2.*pool=flat cannot be; it takes a tap as it is; leave pool out"):
        plan(_request("aet", "blocknet", "digits", "fc2[pool=flat]"), load_catalog())
    (cell,) = plan(_request("aet", "blocknet", "digits", "fc2,fc2[pool=none],svm"), load_catalog()).cells
    assert {(score.evaluator.label, score.pool) for score in cell.scores} == {("fc2", "none"), ("svm", "flat")}


def test_another_pooling_is_refused() -> None:
    with pytest.raises(UsageError, match="pool=max cannot be; pool is average or flat"):
        _plan("aet", "net", "folder", "knn[pool=max]")


# --- recipes ----------------------------------------------------------------------------------------------------------


def test_the_papers_schedule_over_a_tenth_of_the_epochs() -> None:
    paper = Recipe(
        epochs=1500, schedule="milestones", milestones=(240, 480, 640, 800), linear_from=999, final_lr=1e-5, warmup=30
    )
    shorter = stretched(paper, 150)
    assert shorter.epochs == 150
    assert shorter.milestones == (24, 48, 64, 80)
    assert shorter.linear_from == 100
    assert shorter.warmup == 3
    assert (shorter.lr, shorter.final_lr, shorter.factor) == (paper.lr, paper.final_lr, paper.factor)


def test_stretching_by_nothing_changes_nothing() -> None:
    recipe = Recipe(epochs=10, milestones=(4, 8), linear_from=9, warmup=1)
    assert stretched(recipe, None) == stretched(recipe, 10) == recipe
    assert stretched(Recipe(epochs=0), 5) == Recipe(epochs=0)


def test_epochs_stretch_the_schedule_and_set_replaces_single_numbers() -> None:
    recipe = _plan(epochs=20, overrides={"warmup": 1}).cells[0].cell.recipe
    assert (recipe.epochs, recipe.milestones, recipe.warmup) == (20, (8, 16), 1)


def test_what_is_not_trained_ignores_how_long_and_how_fast() -> None:
    plain = _ids("untrained")
    assert _ids("untrained", epochs=50, overrides={"lr": 1, "batch": 8}, budget="paper") == plain
    normalized = _plan("untrained", overrides={"mean": (0.5,) * 3, "std": (0.5,) * 3, "lr": 1})
    assert normalized.cells[0].cell.recipe == Recipe(epochs=0, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert normalized.cells[0].cell.id != plain[0]


# --- folders ----------------------------------------------------------------------------------------------------------

NASTY = [
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


@pytest.mark.parametrize("text", NASTY)
def test_a_cells_folder_is_one_safe_name_whatever_things_are_called(text: str, tmp_path: Path) -> None:
    cell = _plan().cells[0].cell
    for kind in ("method", "encoder", "dataset"):
        name = cell_folder(dataclasses.replace(cell, **{kind: Item(name="x", label=text)}))
        assert re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*-s0-[0-9a-f]{10}", name), name
        assert len(name) < 150
        assert ".." not in name
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
        assert PureWindowsPath(name).name == name
        (tmp_path / name).mkdir()


def test_a_folder_reads_as_its_cell() -> None:
    found = _plan("aet[transform=affine],weights[path=w]", "net", "folder[name=Holiday Photos,subset=50]")
    first, second = (cell_folder(planned.cell) for planned in found.cells)
    assert first == f"aet-transform-affine-net-holiday-photos-subset-50-s0-{found.cells[0].cell.id[:10]}"
    assert second.startswith("weights-sha256-0123456789ab-net-holiday-photos-subset-50-snone-")


def test_two_cells_of_one_look_have_two_folders() -> None:
    found = _plan("aet", overrides={"lr": 0.1}).cells + _plan("aet").cells
    assert len({cell_folder(planned.cell) for planned in found}) == 2


# --- the installed catalog ------------------------------------------------------------------------------------------


def test_aet_with_its_default_written_out_is_one_installed_cell() -> None:
    request = _request("aet,aet[transform=projective]", "resnet18", "digits", "linear,knn,retrieval")
    assert _titles(plan(request, load_catalog())) == ["aet / resnet18 / digits / seed 0"]


def test_mirrored_digits_are_not_in_aets_quick_recipe() -> None:
    cell = plan(_request("aet", "resnet18", "digits"), load_catalog()).cells[0].cell
    assert (cell.recipe.augment, cell.recipe.pad, cell.recipe.epochs) == ("crop", 1, 6)


# --- third-party plugins -----------------------------------------------------------------------------------------------


def _with_methods(*given: tuple[MethodSpec, str]) -> Catalog:
    found = _catalog()
    more = tuple(
        Entry(spec=spec, provider=Provider(plugin="p", distribution=name, version="1")) for spec, name in given
    )
    return dataclasses.replace(found, methods=(*found.methods, *more))


def test_one_name_from_two_distributions_is_refused_in_one_plan_with_both_named() -> None:
    twice = MethodSpec(name="twice", summary="", build=_nothing)
    catalog = _with_methods((twice, "one"), (twice, "two"))
    with pytest.raises(UsageError, match=r"from one and from two.*its own --out"):
        _plan("one:twice,two:twice", catalog=catalog)
    assert _titles(_plan("two:twice", catalog=catalog)) == ["twice / net / photos / seed 0"]


def test_third_party_recipe_that_raises_is_a_skip_and_the_others_are_planned() -> None:
    def recipe(setting: Setting) -> Recipe:
        raise KeyError("lr")

    catalog = _with_methods((MethodSpec(name="broken", summary="", build=_nothing, recipe=recipe), "one"))
    found = _plan("broken,aet", catalog=catalog)
    assert _titles(found) == ["aet / net / photos / seed 0"]
    assert [(skip.title, skip.reason) for skip in found.skips] == [
        ("broken / net / photos", "its plugin raised KeyError: 'lr'")
    ]


def test_third_party_identity_that_raises_is_told_with_its_distribution() -> None:
    def identity(params: object) -> dict[str, object]:
        raise ZeroDivisionError("no images")

    catalog = _with_methods((MethodSpec(name="broken", summary="", build=_nothing, identity=identity), "one"))
    with pytest.raises(UsageError, match="method 'broken' of one 1 raised ZeroDivisionError while it was planned: no"):
        _plan("broken", catalog=catalog)


def test_a_skip_knows_its_three_names_whatever_marks_they_hold() -> None:
    found = _plan("local", "net", "folder[name='day / night']")
    assert found.skips == ()
    refused = _with_methods((MethodSpec(name="no", summary="", build=_nothing, supports=lambda setting: "no"), "one"))
    (skip,) = _plan("no", "net", "folder[name='day / night']", catalog=refused).skips
    assert skip.combination == ("no", "net", "day / night")
