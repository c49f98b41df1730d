"""Images on the device, and the batches that are made of them there."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.gpu.settings import Settings
from contnet.data.batches import Augmentation, Batches, BatchLoader, BatchPlan
from contnet.data.image_data import ImageData
from contnet.data.images import ArrayImages
from contnet.data.randomness import keyed_generator

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
"""Of the channels of CIFAR-10, as conf/dataset/cifar10.yaml has them."""

N_CLASSES = 10


def noise(n_images: int, size: int, seed: int) -> ArrayImages:
    """Return images of noise, uint8 (n_images, size, size, 3), in ten classes."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n_images, size, size, 3)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return ArrayImages(pixels, torch.arange(n_images) % N_CLASSES)


def synthetic(settings: Settings, n_train: int | None = None) -> ImageData:
    """Return a data set of the shape of CIFAR-10, or smaller, in memory."""
    n = settings.n_images if n_train is None else n_train
    return ImageData(
        noise(n, settings.image_size, seed=0),
        noise(max(N_CLASSES, n // 5), settings.image_size, seed=1),
        [str(label) for label in range(N_CLASSES)],
        mean=MEAN,
        std=STD,
        crop_padding=4,
        horizontal_flip=True,
        batch_size=settings.batch_size,
        test_batch_size=2 * settings.batch_size,
        val_size=0,
        split_seed=0,
        num_workers=0,
    )


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device, without a wait for it."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class BatchesOnDevice(Dataset[tuple[Tensor, Tensor]]):
    """The batches of `contnet.data.batches`, made on the device that holds the images.

    Random numbers are drawn on the CPU, so that the batches are the same on every device.
    """

    def __init__(self, images: ArrayImages, augmentation: Augmentation | None) -> None:
        self.images = images
        self.augmentation = augmentation

    def __getitem__(self, plan: BatchPlan) -> tuple[Tensor, Tensor]:
        device = self.images.pixels.device
        pixels, labels = self.images.take(moved(plan.indices[plan.share], device))
        if self.augmentation is not None:
            draws = self.augmentation.draw(len(plan.indices), keyed_generator(*plan.key))
            with torch.device(device):  # the augmentation makes its indices on the default device
                pixels = self.augmentation.apply(pixels, moved(draws[plan.share], device))
        return pixels.permute(0, 3, 1, 2), labels


def loader_on_device(data: ImageData, seed: int, device: torch.device) -> BatchLoader:
    """Return the training batches of a data set whose images are in memory, made on the device."""
    images = data.train
    assert isinstance(images, ArrayImages), "the images do not fit into memory"
    on_device = ArrayImages(images.pixels.to(device), images.labels.to(device))
    return BatchLoader(
        BatchesOnDevice(on_device, data.augmentation),
        sampler=Batches(len(images), data.batch_size, seed),
        batch_size=None,
    )
