"""The command line: one file per group of commands. The only package that imports click.

How to add a command:

1. Write a function with `@command(NAME)` in the file of its group, or in a new file. The first sentence of its
   docstring is the line in `bench --help`: at most 60 characters. Import what the command needs inside the function, so
   that `bench --help` stays fast. Turn its result into a `Report` and print it with `output.print_report`;
   `options.format_option` adds `--format` with every output format.
2. Add its name to `main.COMMANDS`.

Messages for users are `BenchError`s, which `main` prints with their exit code; `tests/cli/test_main.py` checks the help of
every command. A new output format is a change of `benchmark.reports.render` alone.

May import every package but testing.
"""
