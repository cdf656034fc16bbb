"""The spec of Deep InfoMax: parameters, identity, supported settings, recipes, contract."""

import math

import pytest
from method_samples import make_context, make_setting
from tiny_dim import tiny_encoder

import bench_dim
import benchmark
from bench_dim import DimParams
from benchmark.api.parameters import as_dict, label
from benchmark.testing.methods import check_method


def spec():
    (method_spec,) = bench_dim.bench_methods()
    return method_spec


def setting(encoder="tiny", dataset="digits", layout=None, images=1000, budget="quick", shape=(1, 8, 8), **params):
    where = {"encoder": encoder, "layout": layout or tiny_encoder().layout, "dataset": dataset, "image_shape": shape}
    return make_setting(DimParams(**params), num_images=images, budget=budget, **where)


def layout_of(shape, kind="map", local=True):
    taps = (benchmark.Tap(name="inner", kind=kind, shape=shape), benchmark.Tap(name="out", kind="vector", shape=(4,)))
    return benchmark.Layout(taps=taps, output="out", probe="out", local="inner" if local else None)


@pytest.mark.parametrize(
    "params",
    [
        DimParams(units=16, local_samples=4),
        DimParams(scope="both", estimator="nce", critic="bilinear"),
        DimParams(scope="global", units=16, gamma=0.0),
        DimParams(estimator="nce", occlude=1.0, coordinates=1.0, units=32),
    ],
)
def test_method_passes_the_conformance_checks(params):
    (spec,) = bench_dim.bench_methods()
    check_method(spec, params)


def test_spec_builds_a_method_without_labels():
    (spec,) = bench_dim.bench_methods()
    assert isinstance(spec.build(make_context(tiny_encoder(), spec.params(units=8))), benchmark.Method)
    assert spec.labels == "none"


@pytest.mark.parametrize(("scope", "gamma"), [("local", 0.1), ("global", 1.0), ("both", 0.1)])
def test_gamma_defaults_to_the_papers_weight(scope, gamma):
    assert DimParams(scope=scope) == DimParams(scope=scope, gamma=gamma)
    assert DimParams(scope=scope, gamma=0.0).prior_weight == 0


def test_weights_are_those_of_the_paper():
    assert DimParams().weights == {"local": 1.0}
    assert DimParams(scope="global").weights == {"global": 1.0}
    assert DimParams(scope="both").weights == {"local": 0.1, "global": 0.5}


@pytest.mark.parametrize(
    "invalid",
    [
        {"units": 0},
        {"gamma": -0.1},
        {"alpha": math.nan},
        {"penalty": math.inf},
        {"local_samples": 0},
        {"occlude": 1.1},
        {"occlude": -0.1},
        {"coordinates": -1.0},
    ],
)
def test_parameter_out_of_range_is_an_error(invalid):
    with pytest.raises(ValueError, match=next(iter(invalid))):
        DimParams(**invalid)


def test_supports_gives_a_reason():
    assert bench_dim.supports(setting()) is None
    assert "no local map" in bench_dim.supports(setting(layout=layout_of((8, 2, 2), local=False), scope="global"))
    assert "2 x 2" in bench_dim.supports(setting(layout=layout_of((8, 1, 1))))
    assert "2 x 2" in bench_dim.supports(setting(layout=layout_of((8, 1, 4)), scope="both"))
    assert bench_dim.supports(setting(layout=layout_of((8, 1, 1)), scope="global")) is None
    assert "vector" in bench_dim.supports(setting(layout=layout_of((8,), kind="vector")))
    assert "two" in bench_dim.supports(setting(images=1))


def test_paper_recipe_is_the_authors_recipe():
    (spec,) = bench_dim.bench_methods()
    recipe = spec.recipe(setting(encoder="dim_conv", dataset="cifar10", budget="paper", shape=(3, 32, 32)))
    assert (recipe.optimizer, recipe.lr, recipe.beta1, recipe.beta2) == ("adam", 1e-4, 0.5, 0.999)
    assert (recipe.batch, recipe.epochs, recipe.schedule, recipe.augment) == (64, 1000, "constant", "none")
    assert recipe.mean == recipe.std == (0.5, 0.5, 0.5)
    assert recipe.drop_last
    assert recipe.weight_decay == 0


@pytest.mark.parametrize(
    ("encoder", "dataset"), [("resnet18", "cifar10"), ("dim_conv", "digits"), ("dim_conv", "stl10")]
)
def test_paper_recipe_exists_only_for_published_settings(encoder, dataset):
    with pytest.raises(benchmark.UnsupportedError, match=f"{encoder} on {dataset}"):
        bench_dim.recipes.recipe(setting(encoder=encoder, dataset=dataset, budget="paper"))


def test_quick_recipe_has_more_epochs_for_more_images():
    (spec,) = bench_dim.bench_methods()
    assert spec.recipe(setting(images=1400)).epochs == 6
    assert spec.recipe(setting(images=50_000)).epochs == 20
    assert spec.recipe(setting(estimator="nwj")).clip == 1.0
    assert spec.recipe(setting()).clip is None


@pytest.mark.parametrize(
    ("encoder", "images", "estimator", "rate"),
    [
        ("dim_conv", 50_000, "jsd", 1e-3),
        ("dim_conv", 5_000, "jsd", 3e-4),
        ("alexnet", 50_000, "nce", 3e-4),
        ("alexnet", 1_400, "dv", 1e-3),
    ],
)
def test_quick_recipe_rate_depends_on_encoder_images_and_estimator(encoder, images, estimator, rate):
    (spec,) = bench_dim.bench_methods()
    assert spec.recipe(setting(encoder=encoder, images=images, estimator=estimator)).lr == rate


def test_identity_of_the_defaults_has_no_added_parameters():
    assert spec().identity(DimParams()) == {
        "scope": "local",
        "estimator": "jsd",
        "critic": "dot",
        "units": 2048,
        "alpha": 0.5,
        "beta": 0.1,
        "gamma": 0.1,
        "penalty": 1.0,
        "local_samples": None,
    }
    assert spec().version == 1


def test_identity_and_label_contain_only_active_tasks():
    method_spec = spec()
    identity = method_spec.identity(DimParams(occlude=0.5))
    assert identity["occlude"] == 0.5
    assert "coordinates" not in identity
    defaults = as_dict(method_spec.params())
    assert label("dim", method_spec.identity(DimParams()), defaults) == "dim"
    both = method_spec.identity(DimParams(occlude=1.0, coordinates=1.0))
    assert label("dim", both, defaults) == "dim[coordinates=1.0,occlude=1.0]"
