"""The Python API, as the cells of a notebook: train, show a table, compare."""

# %% Train rotation and score it beside raw pixels and an untrained encoder, on 200 training images.
import benchmark

results = benchmark.run(
    "rotation", encoders="blocknet", datasets="digits[subset=200]", evaluators="knn", taps="conv2", seeds=2, epochs=1
)

# %% The table of an evaluator: text here, HTML in a notebook.
print(results.table("knn"))

# %% All scores as a pandas data frame.
frame = results.to_frame()
print(frame[frame["metric"] == "accuracy@k=20"].groupby("method")["value"].mean())

# %% Compare the method with an untrained encoder: these checkpoints, and the methods across seeds.
comparison = results.compare("rotation/blocknet/digits[subset=200]", "untrained/blocknet/digits[subset=200]")
print(comparison)

# %% Read the results again, later or on another machine.
again = benchmark.read_results("runs")
print(len(again.records), "cells")
