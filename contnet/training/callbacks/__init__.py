"""Callbacks and loggers for training, one file for each concern."""
