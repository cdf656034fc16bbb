"""A plugin with a dependency that is not installed."""

import absent_accelerator  # noqa: F401  # missing on purpose
