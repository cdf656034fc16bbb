"""The loss and the training of Deep InfoMax: `bench_dim.method`."""

import dataclasses
import math

import pytest
import torch
from generators import seeded
from method_samples import make_context, parameter_count
from tiny_dim import LOG_TWO, batch, tiny_method

import bench_encoders
import benchmark
from bench_dim import DimParams
from bench_dim.critics import Concat, LocalDot
from bench_dim.estimators import ESTIMATORS
from bench_dim.method import DeepInfoMax, sample_locations
from bench_dim.prior import Discriminator
from benchmark.encoder import NormalizedEncoder


def test_networks_have_the_published_sizes():
    critic = LocalDot(64, 128, 2048)
    assert parameter_count(critic.locations) == 4_728_832
    assert parameter_count(critic.vectors) == 4_466_688
    assert parameter_count(Concat(64, 128, (512, 512))) == 361_985
    assert parameter_count(Discriminator(64)) == 265_401


def test_method_on_dim_conv_has_the_published_size():
    spec = next(spec for spec in bench_encoders.bench_encoders() if spec.name == "dim_conv")
    shape = (3, 32, 32)
    layout = spec.layout(spec.params(), shape)
    network = spec.build(benchmark.EncoderContext(params=spec.params(), image_shape=shape))
    method = DeepInfoMax(make_context(NormalizedEncoder(network, layout, (0.5,) * 3, (0.5,) * 3), DimParams()))
    assert parameter_count(method.encoder) == 4_921_280
    assert parameter_count(method) == 4_921_280 + 4_728_832 + 4_466_688 + 265_401


@pytest.mark.parametrize("critic", ["dot", "concat", "linear", "bilinear"])
@pytest.mark.parametrize("scope", ["local", "global", "both"])
def test_loss_is_finite_and_trains_the_encoder(critic, scope):
    method = tiny_method(critic=critic, scope=scope)
    losses = method.loss(batch())
    losses.total.backward()
    parts = {"local", "global"} if scope == "both" else {scope}
    assert set(losses.parts) == parts | {f"{part}_bound" for part in parts} | {"prior", "discriminator"}
    assert losses.total.dtype == torch.float32
    assert torch.isfinite(losses.total)
    for parameter in method.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    assert sum(float(weight.grad.abs().sum()) for weight in method.encoder.parameters()) > 0


def critic_inputs(method, images):
    """Vectors and locations that the local critic receives when the loss is computed."""
    inputs = []
    hook = method.critics["local"].register_forward_pre_hook(lambda module, arguments: inputs.append(arguments))
    method.loss(images)
    hook.remove()
    return inputs[0]


@pytest.mark.parametrize("kind", ["vector", "map", "tokens"])
def test_critics_receive_one_vector_per_image(kind):
    method = tiny_method(kind).eval()
    vectors, locations = critic_inputs(method, batch())
    assert locations.shape == (8, 16, 8)
    assert torch.allclose(vectors, method.encoder.vector(batch().images), atol=1e-6)


def test_critics_receive_the_output_without_sigmoid_from_one_forward():
    method = tiny_method(critic="bilinear")
    vectors, locations = critic_inputs(method, batch())
    assert method.encoder.network.calls == 1
    expected = method.encoder(batch().images, ["local", "out"])
    assert torch.allclose(vectors, expected["out"], atol=1e-6)
    assert vectors.min() < 0
    assert torch.allclose(locations[3, 5], expected["local"][3, :, 1, 1], atol=1e-6)  # location 5 of a 4 x 4 map


def test_total_is_the_weighted_sum_of_the_paper():
    method = tiny_method(scope="both", alpha=0.5, beta=0.1, gamma=0.3)
    losses = method.loss(batch())
    parts = losses.parts
    expected = 0.5 * parts["global"] + 0.1 * parts["local"] + 0.3 * parts["prior"] + parts["discriminator"]
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-6)


def test_bound_is_trivial_loss_minus_loss():
    parts = tiny_method(scope="both", estimator="nce").loss(batch()).parts
    assert (parts["local"] + parts["local_bound"]).item() == pytest.approx(math.log(1 + 7 * 16), abs=1e-4)
    assert (parts["global"] + parts["global_bound"]).item() == pytest.approx(math.log(8), abs=1e-4)


def gradients(module):
    return [None if weight.grad is None else weight.grad.clone() for weight in module.parameters()]


def test_discriminator_gradient_does_not_depend_on_gamma():
    seen = []
    for gamma in (0.1, 50.0):
        method = tiny_method(gamma=gamma)
        method.loss(batch()).total.backward()
        seen.append(gradients(method.discriminator))
    for small, large in zip(*seen, strict=True):
        assert torch.equal(small, large)


def test_discriminator_loss_has_no_gradient_for_the_encoder():
    method = tiny_method()
    method.loss(batch()).parts["discriminator"].backward()
    assert gradients(method.encoder) == [None] * len(list(method.encoder.parameters()))
    method.loss(batch()).parts["prior"].backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in method.encoder.parameters())


def test_method_without_prior_has_no_discriminator():
    method = tiny_method(gamma=0.0)
    losses = method.loss(batch())
    assert method.discriminator is None
    assert set(losses.parts) == {"local", "local_bound"}
    assert torch.equal(losses.total, losses.parts["local"])


def test_trivial_losses_use_the_largest_batch_and_the_sampled_locations():
    method = tiny_method(estimator="nce", scope="both", local_samples=3)
    assert method.trivial_losses() == {}
    method.loss(batch(8))
    method.loss(batch(4))
    assert method.trivial_losses() == pytest.approx({"local": math.log(1 + 7 * 3), "global": math.log(8)})
    jensen = tiny_method()
    jensen.loss(batch())
    assert jensen.trivial_losses() == pytest.approx({"local": 2 * LOG_TWO})


def test_state_dict_restores_the_method():
    method, other = tiny_method(estimator="nce", scope="both"), tiny_method(estimator="nce", scope="both", seed=5)
    method.loss(batch())
    other.load_state_dict(method.state_dict())
    assert other.trivial_losses() == method.trivial_losses()
    assert torch.equal(other.loss(batch(seed=3)).total, method.loss(batch(seed=3)).total)


def test_random_numbers_of_a_step_come_from_the_batch():
    method = tiny_method(local_samples=2)
    assert torch.equal(method.loss(batch()).total, method.loss(batch()).total)
    other = dataclasses.replace(batch(), generator=seeded(99))
    assert not torch.equal(method.loss(other).total, method.loss(batch()).total)


def test_sampled_locations_are_distinct_and_of_the_own_image():
    locations = torch.arange(4 * 9).view(4, 9, 1)
    chosen = sample_locations(locations, 5, seeded())
    assert chosen.shape == (4, 5, 1)
    for image, values in enumerate(chosen[:, :, 0].tolist()):
        assert len(set(values)) == 5
        assert {value // 9 for value in values} == {image}
    assert len({tuple(value % 9 for value in values) for values in chosen[:, :, 0].tolist()}) > 1
    assert sample_locations(locations, 9, seeded()) is locations
    assert sample_locations(locations, None, seeded()) is locations


def test_batch_of_one_image_is_an_error():
    with pytest.raises(benchmark.TrainingError, match="drop_last"):
        tiny_method().loss(batch(1))


def trained_loss(method, steps, rate):
    optimizer = torch.optim.Adam(method.parameters(), lr=rate, betas=(0.5, 0.999))
    step_batch = batch(12)
    for _ in range(steps):
        losses = method.loss(step_batch)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    return {name: value.item() for name, value in method.loss(step_batch).parts.items()}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_thirty_steps_reach_a_loss_below_trivial(estimator):
    method = tiny_method(estimator=estimator, critic="bilinear")
    assert trained_loss(method, 30, 0.01)["local"] < method.trivial_losses()["local"] - 0.1


@pytest.mark.parametrize(
    ("critic", "scope", "rate"), [("dot", "local", 0.01), ("dot", "global", 0.003), ("concat", "local", 0.003)]
)
def test_other_critics_learn(critic, scope, rate):
    method = tiny_method(critic=critic, scope=scope, units=16, local_samples=4)
    assert trained_loss(method, 30, rate)[scope] < 2 * LOG_TWO - 0.05


def test_linear_critic_does_not_learn():
    method = tiny_method(critic="linear")
    assert trained_loss(method, 30, 0.01)["local"] >= 2 * LOG_TWO - 1e-5


def test_added_tasks_are_in_the_total_and_train_the_encoder():
    method = tiny_method(occlude=0.5, coordinates=2.0, gamma=0.0, local_samples=4)
    losses = method.loss(batch())
    assert set(losses.parts) == {"local", "local_bound", "absolute", "relative"}
    expected = losses.parts["local"] + 2 * (losses.parts["absolute"] + losses.parts["relative"])
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert set(method.trivial_losses()) == {"local", "absolute", "relative"}
    (losses.parts["absolute"] + losses.parts["relative"]).backward()
    assert all(weight.grad.abs().sum() > 0 for weight in method.encoder.network.local[0].parameters())
    assert all(weight.grad.abs().sum() > 0 for weight in method.encoder.network.deep.parameters())


def test_method_without_added_tasks_has_no_state_of_them():
    method = tiny_method()
    assert method.coordinates is None
    assert not [name for name in method.state_dict() if "coordinates" in name or "color" in name]
