"""Trained networks in use: loaded, given images, and saved without their training."""
