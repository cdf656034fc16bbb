"""A plugin whose own dependency is not installed."""

import absent_accelerator  # noqa: F401  # it is the point that there is none
