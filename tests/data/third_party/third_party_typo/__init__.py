"""A plugin that implements a hook that does not exist: the singular."""

import benchmark


@benchmark.hookimpl
def bench_method():
    yield benchmark.MethodSpec(name="never_seen", summary="", build=lambda context: None)
