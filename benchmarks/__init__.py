"""Measurements of speed, memory and accuracy. Each is a command: python -m benchmarks.NAME."""
