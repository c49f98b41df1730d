from typing import Any

from torch import Tensor, nn

from contnet import ODEBlock


class TwoBlocks(nn.Module):
    """A network written by hand: a stem, two ODE blocks of different widths, and a head.

    Args:
        in_channels: channels of the images.
        num_classes: number of classes.
        n_basis: nodes of each block.
        n_time_steps_per: time steps for each node.
        settings: further settings of the blocks.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        n_basis: int = 1,
        n_time_steps_per: int = 1,
        **settings: Any,
    ) -> None:
        super().__init__()

        def block(channels: int) -> ODEBlock:
            return ODEBlock(
                lambda: nn.Sequential(
                    nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.Tanh()
                ),
                n_basis=n_basis,
                n_time_steps=n_basis * n_time_steps_per,
                **settings,
            )

        self.stem = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.narrow, self.wide = block(4), block(8)
        self.between = nn.Conv2d(4, 8, 2, stride=2)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(self.stem(x))
        logits: Tensor = self.head(self.wide(self.between(x)).mean((2, 3)))
        return logits
