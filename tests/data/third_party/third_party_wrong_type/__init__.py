"""A plugin that yields a dictionary instead of a spec."""

import benchmark


@benchmark.hookimpl
def bench_methods():
    yield {"name": "dictionary", "summary": "not a spec"}
