"""`pretrained`: reading weights files, matching keys, identity."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_bounds import METHODS, build_method, make_encoder, tiny_encoder
from torch import Tensor

import benchmark
from bench_bounds.parameters import PretrainedParams
from benchmark.encoder import NormalizedEncoder


def encoder_and_weights() -> tuple[NormalizedEncoder, dict[str, Tensor]]:
    """An encoder, and other weights that match it."""
    state = {key: torch.rand_like(value.float()) for key, value in tiny_encoder().network.state_dict().items()}
    state["norm.num_batches_tracked"] = torch.tensor(5)
    return tiny_encoder(), state


def check_loaded(encoder: NormalizedEncoder, state: dict[str, Tensor], params: PretrainedParams) -> None:
    build_method("pretrained", encoder, params)
    torch.testing.assert_close(dict(encoder.network.state_dict()), state)


def test_weights_load_from_safetensors(tmp_path: Path) -> None:
    encoder, state = encoder_and_weights()
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    check_loaded(encoder, state, PretrainedParams(path=str(path)))
    assert (encoder.mean.item(), encoder.std.item()) == (0.0, 1.0)


@pytest.mark.parametrize("suffix", ["pt", "pth"])
@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
def test_weights_load_from_torch_files(tmp_path: Path, suffix: str, nest: str | None) -> None:
    encoder, state = encoder_and_weights()
    path = tmp_path / f"weights.{suffix}"
    torch.save({nest: state, "epoch": 3} if nest else state, path)
    check_loaded(encoder, state, PretrainedParams(path=str(path)))


def test_prefix_is_stripped_and_other_keys_are_ignored(tmp_path: Path) -> None:
    encoder, state = encoder_and_weights()
    others = {"queue": torch.rand(3), "module.fc.weight": torch.rand(2, 2), "module.head.bias": torch.rand(2)}
    path = tmp_path / "weights.pt"
    torch.save({**{f"module.{key}": value for key, value in state.items()}, **others}, path)
    check_loaded(encoder, state, PretrainedParams(path=str(path), prefix="module.", drop=("fc.", "head.")))


def test_old_files_in_half_precision_load(tmp_path: Path) -> None:
    encoder, state = encoder_and_weights()
    del state["norm.num_batches_tracked"]
    halves = {key: value.half() for key, value in state.items()}
    path = tmp_path / "weights.safetensors"
    save_file(halves, path)
    build_method("pretrained", encoder, PretrainedParams(path=str(path)))
    loaded = encoder.network.state_dict()
    assert all(torch.equal(loaded[key], value.float()) for key, value in halves.items())
    assert loaded["conv.weight"].dtype == torch.float32


def test_torchvisions_resnet_weights_load(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    theirs = resnet18(weights=None).state_dict()
    path = tmp_path / "resnet18.pth"
    torch.save(theirs, path)
    encoder = make_encoder("resnet18", (3, 32, 32), stem="imagenet")
    build_method("pretrained", encoder, PretrainedParams(path=str(path), drop=("fc.",)))
    assert torch.equal(encoder.network.get_parameter("layer4.1.conv2.weight"), theirs["layer4.1.conv2.weight"])


def test_mismatch_lists_the_keys_and_changes_nothing(tmp_path: Path) -> None:
    encoder, state = encoder_and_weights()
    before = {key: value.clone() for key, value in encoder.network.state_dict().items()}
    del state["norm.bias"]
    state["fc.weight"] = torch.rand(2, 2)
    state["conv.weight"] = torch.rand(5, 3, 3, 3)
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    with pytest.raises(benchmark.UsageError) as caught:
        build_method("pretrained", encoder, PretrainedParams(path=str(path)))
    message = str(caught.value)
    assert "missing: norm.bias;" in message
    assert "unexpected: fc.weight;" in message
    assert "wrong shape: conv.weight (5, 3, 3, 3) instead of (5, 1, 3, 3)" in message
    assert "drop=fc." in message
    torch.testing.assert_close(dict(encoder.network.state_dict()), before)


def test_message_lists_ten_keys_and_counts_the_rest(tmp_path: Path) -> None:
    encoder, state = encoder_and_weights()
    state.update({f"extra{number:02}": torch.zeros(1) for number in range(13)})
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    with pytest.raises(benchmark.UsageError, match="extra09 and 3 more"):
        build_method("pretrained", encoder, PretrainedParams(path=str(path)))


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_pickle_with_other_objects_is_refused_and_not_executed(tmp_path: Path, save: Any) -> None:
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    save({"conv.weight": torch.rand(2), "extra": Touch(trace)}, path)
    with pytest.raises(benchmark.UsageError, match="refused"):
        build_method("pretrained", tiny_encoder(), PretrainedParams(path=str(path)))
    assert not trace.exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_damaged_file_is_a_usage_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    _, state = encoder_and_weights()
    (save_file if name.endswith("safetensors") else torch.save)(state, path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(benchmark.UsageError, match="weights"):
        build_method("pretrained", tiny_encoder(), PretrainedParams(path=str(path)))


def test_file_without_matching_tensors_is_a_usage_error(tmp_path: Path) -> None:
    empty, full = tmp_path / "empty.pt", tmp_path / "full.pt"
    torch.save({"epoch": 3}, empty)
    torch.save(encoder_and_weights()[1], full)
    with pytest.raises(benchmark.UsageError, match="no tensors"):
        build_method("pretrained", tiny_encoder(), PretrainedParams(path=str(empty)))
    with pytest.raises(benchmark.UsageError, match=r"its keys: .*conv\.weight"):
        build_method("pretrained", tiny_encoder(), PretrainedParams(path=str(full), prefix="module."))


@pytest.mark.parametrize(("path", "words"), [("", "needs a weights file"), ("no.pt", "no file"), ("a.onnx", ".onnx")])
def test_missing_file_is_a_usage_error_of_the_plan(path: str, words: str) -> None:
    identity = METHODS["pretrained"].identity
    assert identity is not None
    with pytest.raises(benchmark.UsageError, match=words):
        identity(PretrainedParams(path=path))


def test_identity_is_the_content_and_not_the_path(tmp_path: Path) -> None:
    identity = METHODS["pretrained"].identity
    assert identity is not None
    identities = []
    for name in ("here.pt", "there.pt"):
        (tmp_path / name).write_bytes(b"same bytes")
        identities.append(identity(PretrainedParams(path=str(tmp_path / name), drop=("head.", "fc."))))
    assert identities[0] == identities[1]
    assert identities[0] == {
        "sha256": hashlib.sha256(b"same bytes").hexdigest(),
        "prefix": "",
        "drop": ("fc.", "head."),
    }
