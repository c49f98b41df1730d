"""Predict the classes of images: `python predict.py ckpt_path=...` is `contnet-predict`."""

from contnet.commands.predict import main

if __name__ == "__main__":
    main()
