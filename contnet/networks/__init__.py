"""Networks for image classification."""

from contnet.networks.original import from_original_state_dict

__all__ = ["from_original_state_dict"]
