"""Callbacks and loggers for training, one concern a file."""
