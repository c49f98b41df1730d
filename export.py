"""Export a network: `python export.py ckpt_path=...` is `contnet-export` in a checkout."""

from contnet.commands.export import main

if __name__ == "__main__":
    main()
