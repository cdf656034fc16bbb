"""Weights from elsewhere, put into an encoder: every one must fit, or nothing is loaded.

Keys are those of the network alone, as its `state_dict()` has them; normalization stays the recipe's (a file made with
other means wants `--set mean=...,std=...`).
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
from bench_bounds.weight_file import located

NESTED = ("state_dict", "model")
"""Where training scripts commonly put the weights among other things."""
SHOWN = 10
"""Keys of each kind that a message names."""


def pretrained(context: benchmark.MethodContext) -> nn.Module:
    """The context's encoder with the file's weights in its network.

    Raises:
        UsageError: no such file, no weights in it, or keys or shapes that do not fit the network.
    """
    params: PretrainedParams = context.params
    encoder = context.encoder
    if not isinstance(encoder, nn.Module):
        raise benchmark.PluginError(f"method 'pretrained' was given {type(encoder).__name__}, but needs an nn.Module")
    path = located(params)
    load(encoder.get_submodule("network"), chosen(read(path), params, path), path)
    return NotTrained(context.encoder, "pretrained")


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file by key, on the CPU; nothing in it is executed.

    Raises:
        UsageError: not a weights file, or one that holds other objects than tensors and plain values.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise benchmark.UsageError(
            f"method 'pretrained': '{path}' is no state dict or holds objects besides tensors, and unpickling those could "
            "run code, so it is refused. Save model.state_dict() alone, best with safetensors.torch.save_file"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise benchmark.UsageError(
            f"method 'pretrained': '{path}' cannot be read as weights ({error}). Check that it was copied whole"
        ) from error
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    entries = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(key): value for key, value in entries if isinstance(value, Tensor)}
    if not tensors:
        raise benchmark.UsageError(
            f"method 'pretrained': '{path}' has no tensors at its top level, nor under {' or '.join(NESTED)}. "
            "Save model.state_dict() alone"
        )
    return tensors


def chosen(tensors: Mapping[str, Tensor], params: PretrainedParams, path: Path) -> dict[str, Tensor]:
    """The tensors under the prefix, without it, less those to drop.

    Raises:
        UsageError: nothing is left.
    """
    prefix, drop = params.prefix, params.drop
    under = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    kept = {key: value for key, value in under.items() if not key.startswith(drop)}
    if not kept:
        raise benchmark.UsageError(
            f"method 'pretrained': no key of '{path}' is left with prefix='{prefix}' and drop='{';'.join(drop)}'; "
            f"its keys are {_listed(tensors)}"
        )
    return kept


def load(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copies `tensors` into the network, all or none; their type becomes the network's.

    Raises:
        UsageError: a key that is missing, unexpected or of another shape; the message names up to ten of each kind.
    """
    wanted = network.state_dict()
    # Old files lack this counter, and nothing computes with it.
    missing = [key for key in wanted if key not in tensors and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in tensors if key not in wanted]
    misfits = [
        f"{key} {tuple(tensors[key].shape)} in place of {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    problems = [
        f"{word}: {_listed(keys)}"
        for word, keys in (("missing", missing), ("unexpected", unexpected), ("of the wrong shape", misfits))
        if keys
    ]
    if problems:
        raise benchmark.UsageError(
            f"method 'pretrained': '{path}' does not fit this encoder. {'; '.join(problems)}. Choose the encoder (and its "
            "parameters) that the file was made with; strip a common beginning of its keys with prefix=module. and leave "
            "out heads with drop=fc."
        )
    network.load_state_dict({**wanted, **tensors})


def _listed(keys: Iterable[str]) -> str:
    names = list(keys)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
