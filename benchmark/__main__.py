"""`python -m benchmark` runs `bench`."""

from benchmark.cli.main import main

if __name__ == "__main__":
    main()
