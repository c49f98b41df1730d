"""Data sets, their images, and the batches made from them."""

from contnet.data.folder import image_folder
from contnet.data.image_data import ImageData
from contnet.data.imagenet import tiny_imagenet
from contnet.data.sources import cifar10, cifar100, digits, fashion_mnist

__all__ = [
    "ImageData",
    "cifar10",
    "cifar100",
    "digits",
    "fashion_mnist",
    "image_folder",
    "tiny_imagenet",
]
