"""Print what contnet has to offer: `python -m contnet`."""

from contnet import __version__
from contnet.commands.messages import CONF


def main() -> None:
    """Print the version, the commands, the folder of their settings, and how to begin."""
    print(f"""\
contnet {__version__}: residual networks that are continuous in depth

  contnet-train       train and test a network
  contnet-evaluate    evaluate trained networks in other schemes and step counts
  contnet-predict     predict the classes of images with a trained network
  contnet-export      export a trained network for ONNX Runtime and browsers
  contnet-compare     lay runs and evaluations beside each other

Begin with
  contnet-train epochs=10                 train on small pictures of digits
  contnet-evaluate ckpt_path=outputs      evaluate all networks in the folder outputs
  contnet-compare outputs                 compare all runs in the folder outputs
  contnet-train --help                    list all settings

The settings lie in {CONF}""")


if __name__ == "__main__":
    main()
