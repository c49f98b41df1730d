"""Checks and measurements of contnet on a GPU, by one command: see `benchmarks.gpu.__main__`."""
