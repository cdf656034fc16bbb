"""Load weights from a file into an encoder. If a key or shape does not match, nothing is loaded.

Keys are those of the network's `state_dict()`. Normalization is the recipe's; for weights that were trained with another
normalization, pass `--set mean=...,std=...`.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

import benchmark
from bench_bounds.not_trained import NotTrained
from bench_bounds.parameters import PretrainedParams
from bench_bounds.weight_file import weights_path

NESTED = ("state_dict", "model")
"""Keys under which training scripts commonly store the weights."""
MAX_SHOWN = 10
"""Largest number of keys of each kind that a message lists."""


def pretrained(context: benchmark.MethodContext) -> nn.Module:
    """The method with the file's weights loaded into the context's encoder.

    Raises:
        UsageError: the file does not exist or has no weights, or keys or shapes do not match the network.
    """
    params: PretrainedParams = context.params
    encoder = context.encoder
    if not isinstance(encoder, nn.Module):
        raise benchmark.PluginError(
            f"method 'pretrained' needs an encoder that is an nn.Module, not {type(encoder).__name__}"
        )
    path = weights_path(params)
    load_weights(encoder.get_submodule("network"), select_keys(read_weights(path), params, path), path)
    return NotTrained(context.encoder, "pretrained")


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file by key, on the CPU. No code in the file is executed.

    Raises:
        UsageError: not a weights file, or it contains other objects than tensors and plain values.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise benchmark.UsageError(
            f"method 'pretrained': '{path}' is not a state dict, or contains objects other than tensors, which are refused "
            "because unpickling them can run code. Save only model.state_dict(), if possible with safetensors.torch.save_file"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise benchmark.UsageError(
            f"method 'pretrained': cannot read weights from '{path}' ({error}). Check that the file is complete"
        ) from error
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    entries = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(key): value for key, value in entries if isinstance(value, Tensor)}
    if not tensors:
        raise benchmark.UsageError(
            f"method 'pretrained': '{path}' has no tensors at its top level or under {' or '.join(NESTED)}. "
            "Save only model.state_dict()"
        )
    return tensors


def select_keys(tensors: Mapping[str, Tensor], params: PretrainedParams, path: Path) -> dict[str, Tensor]:
    """The tensors whose keys have the prefix, with it stripped, without those to drop.

    Raises:
        UsageError: no key is left.
    """
    prefix, drop = params.prefix, params.drop
    stripped = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    kept = {key: value for key, value in stripped.items() if not key.startswith(drop)}
    if not kept:
        raise benchmark.UsageError(
            f"method 'pretrained': no key of '{path}' matches prefix='{prefix}' and drop='{';'.join(drop)}'; "
            f"its keys: {_list_keys(tensors)}"
        )
    return kept


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copies `tensors` into the network, all or none. They are converted to the network's type.

    Raises:
        UsageError: a key is missing or unexpected, or has another shape; the message lists up to ten of each kind.
    """
    expected = network.state_dict()
    # Old files lack this counter, which does not affect any result.
    missing = [key for key in expected if key not in tensors and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in tensors if key not in expected]
    mismatched = [
        f"{key} {tuple(tensors[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    problems = [
        f"{problem}: {_list_keys(keys)}"
        for problem, keys in (("missing", missing), ("unexpected", unexpected), ("wrong shape", mismatched))
        if keys
    ]
    if problems:
        raise benchmark.UsageError(
            f"method 'pretrained': '{path}' does not match this encoder. {'; '.join(problems)}. Choose the encoder and the "
            "parameters with which the file was saved. Strip a common prefix of its keys with prefix=module. and ignore "
            "heads with drop=fc."
        )
    network.load_state_dict({**expected, **tensors})


def _list_keys(keys: Iterable[str]) -> str:
    names = list(keys)
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more
