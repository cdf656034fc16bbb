"""A plugin with two methods of the same name."""

import benchmark


@benchmark.hookimpl
def bench_methods():
    for summary in ("first", "second"):
        yield benchmark.MethodSpec(name="twin", summary=summary, build=lambda context: None)
