"""A plugin that was written as a script: it exits when it is imported."""

import sys

sys.exit(4)
