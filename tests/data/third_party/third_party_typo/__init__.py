"""A plugin that implements a hook that does not exist, `bench_method`."""

import benchmark


@benchmark.hookimpl
def bench_method():
    yield benchmark.MethodSpec(name="never_seen", summary="", build=lambda context: None)
