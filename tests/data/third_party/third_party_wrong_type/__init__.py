"""A plugin that yields a dictionary where a spec is due."""

import benchmark


@benchmark.hookimpl
def bench_methods():
    yield {"name": "dictionary", "summary": "not a spec"}
