"""The recipe of a planned cell: the method's own, with --epochs and --set applied and checked."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.api.identity import canonical_json
from benchmark.api.limits import LIMITS, shown
from benchmark.api.methods import MethodSpec, Setting
from benchmark.api.parameters import as_dict, bind
from benchmark.api.recipes import Recipe, with_epochs
from benchmark.errors import UnknownNameError, UnsupportedError, UsageError

OWNER = "the recipe (--set)"
NORMALIZATION = ("mean", "std")
"""Recipe keys that also apply to methods without training."""
MAX_PAD = 1024
RANGES = (
    f"pad is 0 to {MAX_PAD}, warmup, weight_decay, factor and final_lr are 0 or more, momentum, beta1 and beta2 at least 0 "
    "and below 1, clip above 0"
)


def check_overrides(overrides: Mapping[str, object]) -> None:
    """Checks names and types of --set before any cell is planned: every cell may be skipped, or train nothing.

    Raises:
        UnknownNameError: no such recipe key.
        UsageError: a value of the wrong type.
    """
    for key in overrides:
        if key not in Recipe.__dataclass_fields__:
            raise UnknownNameError("recipe key", key, Recipe.__dataclass_fields__)
    bind(Recipe, overrides, OWNER)


class RecipePlanner:
    """Makes recipes for combinations of a request; equal ones are checked and serialized once.

    Args:
        epochs: replaces the recipe's number of epochs; None: as the recipe says.
        overrides: recipe key -> value.
    """

    def __init__(self, epochs: int | None, overrides: Mapping[str, object]) -> None:
        self._epochs = epochs
        self._overrides = overrides
        self._recipes: dict[tuple[str, bool, int], tuple[Recipe, str]] = {}

    def recipe(self, spec: MethodSpec, setting: Setting) -> tuple[Recipe, str]:
        """(recipe, JSON that is hashed into the cell's id). A method that trains nothing has no schedule.

        Raises:
            UnsupportedError: normalization of another number of channels.
            UsageError: a number out of its range.
        """
        recipe = with_epochs(spec.recipe(setting), self._epochs) if spec.trains else Recipe(epochs=0)
        key = (repr(recipe), spec.trains, setting.image_shape[0])  # not the recipe itself: True and 1 are equal
        if key not in self._recipes:
            names = self._overrides if spec.trains else [name for name in NORMALIZATION if name in self._overrides]
            overrides = {name: self._overrides[name] for name in names}
            changed: Recipe = bind(Recipe, {**as_dict(recipe), **overrides}, OWNER)
            _check(changed, setting, spec.trains)
            self._recipes[key] = changed, canonical_json(as_dict(changed))
        return self._recipes[key]


def _check(recipe: Recipe, setting: Setting, trains: bool) -> None:
    channels = setting.image_shape[0]
    for key, values in (("mean", recipe.mean), ("std", recipe.std)):
        if values is not None and len(values) != channels:
            raise UnsupportedError(f"the recipe's {key} has {len(values)} numbers, but images have {channels} channels")
    if recipe.std is not None and min(recipe.std) <= 0:
        raise UsageError(f"the recipe's std must be above 0, not {recipe.std}")
    invalid = [f"{key}={getattr(recipe, key)}" for key, valid in _validity(recipe).items() if not valid]
    if invalid:
        raise UsageError(f"the recipe has {', '.join(invalid)}; {RANGES}")
    for name, value in (("epochs", recipe.epochs), ("batch", recipe.batch)):
        if value > LIMITS[name].maximum:
            raise UsageError(f"the recipe has {name}={shown(value)}; {name} must be {LIMITS[name].valid}")
    if trains and (recipe.epochs < 1 or recipe.batch < 2 or recipe.lr <= 0):
        raise UsageError(
            f"the recipe has epochs={recipe.epochs}, batch={recipe.batch}, lr={recipe.lr}; "
            "epochs must be 1 or more, batch 2 or more, lr above 0"
        )


def _validity(recipe: Recipe) -> dict[str, bool]:
    """Whether each number is in its range."""
    return {
        **{key: getattr(recipe, key) >= 0 for key in ("warmup", "weight_decay", "factor", "final_lr")},
        **{key: 0 <= getattr(recipe, key) < 1 for key in ("momentum", "beta1", "beta2")},
        "pad": 0 <= recipe.pad <= MAX_PAD,
        "clip": recipe.clip is None or recipe.clip > 0,
    }
