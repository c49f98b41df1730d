"""The random numbers that a rate may draw, as dropout does."""

import torch


class RandomState:
    """The state of the generators of the CPU and of a device, as it was when this was made."""

    def __init__(self, device: torch.device) -> None:
        self._generators = [torch.default_generator]
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            self._generators.append(torch.cuda.default_generators[index])
        self._states = [generator.get_state() for generator in self._generators]

    def has_changed(self) -> bool:
        """Return True if random numbers have been drawn since."""
        return not all(
            torch.equal(generator.get_state(), state)
            for generator, state in zip(self._generators, self._states, strict=True)
        )

    def restore(self) -> None:
        """Draw the same random numbers again."""
        for generator, state in zip(self._generators, self._states, strict=True):
            generator.set_state(state)
