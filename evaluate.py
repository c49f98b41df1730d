"""Evaluate checkpoints: `python evaluate.py ckpt_path=...` is `contnet-evaluate` in a checkout."""

from contnet.commands.evaluate import main

if __name__ == "__main__":
    main()
