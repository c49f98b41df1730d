"""Trained networks as files for other runtimes, each compared with contnet in its own runtime."""
