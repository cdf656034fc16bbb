"""Parameters of the executors of one machine."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class LocalParams:
    """Of `local`."""

    patience: float = field(
        default=60.0,
        metadata={"help": "seconds that running cells have to write a checkpoint when the run is stopped"},
    )

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            ValueError: a negative number of seconds.
        """
        if self.patience < 0:
            raise ValueError(f"patience={self.patience} cannot be; it is a number of seconds from 0 on, such as 60")
