"""Schemes, bases and ODE blocks: the mathematics, on torch and torchdiffeq alone."""
