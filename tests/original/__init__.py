"""The original code, written again in plain PyTorch from a description of what it computes.

It shares nothing with the package. Names of attributes are those of the original, because state
dicts hold them.
"""
