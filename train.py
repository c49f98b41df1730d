"""Train a network: `python train.py [key=value ...]` is `contnet-train` in a checkout."""

from contnet.commands.train import main

if __name__ == "__main__":
    main()
