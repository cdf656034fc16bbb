"""A plugin that gives one name to two methods."""

import benchmark


@benchmark.hookimpl
def bench_methods():
    for summary in ("first", "second"):
        yield benchmark.MethodSpec(name="twin", summary=summary, build=lambda context: None)
