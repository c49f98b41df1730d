"""The original code, written again in plain PyTorch from a description of what it computes.

Its networks (`continuous.py`, `residual.py`) share no code with the package. The comparison brings
their weights over with `contnet.networks.from_original_state_dict`. Names of attributes are
those of the original, because state dicts hold them.
"""
