"""Compare runs: `python compare.py runs...` is `contnet-compare` in a checkout."""

from contnet.commands.compare import main

if __name__ == "__main__":
    main()
