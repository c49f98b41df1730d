import multiprocessing
import subprocess

import pytest
import torch
from torchvision.transforms import functional

from contnet.data import batches
from contnet.data.batches import Augmentation, batch_loader
from contnet.data.images import ArrayImages
from contnet.data.randomness import keyed_generator


def test_each_image_is_cropped_and_flipped_by_itself_as_by_a_slow_reference() -> None:
    pixels = torch.randint(0, 256, (64, 6, 6, 3), dtype=torch.uint8)
    augmentation = Augmentation(padding=2, flip=True)
    draws = augmentation.draw(64, keyed_generator(1))
    augmented = augmentation.apply(pixels, draws)
    for i, (top, left, flip) in enumerate(draws.tolist()):
        image = functional.pad(pixels[i].permute(2, 0, 1), [2])
        image = functional.crop(image, top, left, 6, 6)
        image = functional.hflip(image) if flip else image
        assert torch.equal(augmented[i], image.permute(1, 2, 0))
    assert set(draws[:, :2].flatten().tolist()) == set(range(5))
    assert 20 < draws[:, 2].sum() < 44
    assert not augmentation.draw(64, keyed_generator(2)).equal(draws)


def test_the_order_and_augmentation_of_an_epoch_follow_from_the_seed_and_the_epoch() -> None:
    images = ArrayImages(torch.randint(0, 256, (10, 4, 4, 1), dtype=torch.uint8), torch.arange(10))

    def epoch(seed: int, number: int, workers: int = 0) -> tuple[list[int], torch.Tensor]:
        augmentation = Augmentation(1, flip=True)
        loader = batch_loader(images, 4, seed=seed, augmentation=augmentation, num_workers=workers)
        loader.sampler.set_epoch(number)
        drawn = list(loader)
        return [label for _, labels in drawn for label in labels.tolist()], torch.cat(
            [x for x, _ in drawn]
        )

    labels, pixels = epoch(0, 3)
    assert sorted(labels) == list(range(10))
    assert epoch(0, 3)[0] == labels
    assert torch.equal(epoch(0, 3)[1], pixels)
    assert torch.equal(epoch(0, 3, workers=1)[1], pixels)
    assert epoch(0, 4)[0] != labels
    assert epoch(1, 3)[0] != labels


@pytest.mark.parametrize("n", [16, 17, 23])
@pytest.mark.parametrize("seed", [None, 5])
def test_processes_share_every_global_batch_as_one_process_would_see_it(
    n: int, seed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ArrayImages(torch.randint(0, 256, (n, 4, 4, 1), dtype=torch.uint8), torch.arange(n))
    augmentation = None if seed is None else Augmentation(1, flip=True)

    def dealt(rank: int, world_size: int, batch_size: int) -> list[dict[int, torch.Tensor]]:
        monkeypatch.setattr(batches, "rank_and_world_size", lambda: (rank, world_size))
        loader = batch_loader(images, batch_size, seed=seed, augmentation=augmentation)
        drawn = [dict(zip(labels.tolist(), pixels, strict=True)) for pixels, labels in loader]
        assert len(drawn) == len(loader)
        return drawn

    shares = [dealt(rank, world_size=2, batch_size=4) for rank in (0, 1)]
    together = [a | b for a, b in zip(*shares, strict=True)]
    assert sum(len(a) + len(b) for a, b in zip(*shares, strict=True)) == n
    one = dealt(0, world_size=1, batch_size=8)
    if n % 8 == 1:  # too few to go round: joined to the batch before
        one[-2:] = [one[-2] | one[-1]]
        together = [dict.fromkeys(batch) for batch in together]
        one = [dict.fromkeys(batch) for batch in one]
        assert together == one
    else:
        for batch, other in zip(together, one, strict=True):
            assert batch.keys() == other.keys()
            assert all(torch.equal(pixels, other[label]) for label, pixels in batch.items())


def test_a_loader_goes_on_with_the_next_batch_of_the_same_order() -> None:
    images = ArrayImages(torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1), torch.arange(10))
    for workers in (0, 1):
        loader = batch_loader(images, 2, seed=3, num_workers=workers)
        loader.sampler.set_epoch(4)
        through = [labels.tolist() for _, labels in loader]
        iterator = iter(loader)
        for _ in range(2):
            next(iterator)
        state = loader.state_dict()
        resumed = batch_loader(images, 2, seed=3, num_workers=workers)
        resumed.load_state_dict(state)
        resumed.sampler.set_epoch(4)
        assert [labels.tolist() for _, labels in resumed] == through[2:]
        resumed.sampler.set_epoch(5)
        assert len([labels for _, labels in resumed]) == len(resumed) == 5


def test_processes_that_prepare_batches_outlive_the_signals_that_end_a_run() -> None:
    before = set(multiprocessing.active_children())
    labels = torch.arange(16)
    images = ArrayImages(torch.zeros(16, 4, 4, 1, dtype=torch.uint8), labels)
    loader = batch_loader(images, 1, num_workers=1)
    drawn = iter(loader)
    assert next(drawn)[1].tolist() == [0]
    (worker,) = set(multiprocessing.active_children()) - before
    for name in ("TERM", "HUP", "USR1", "USR2", "INT"):  # as a cluster or a terminal sends it
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    assert torch.cat([of_one for _, of_one in drawn]).tolist() == labels[1:].tolist()
    assert worker.is_alive()
    worker.terminate()  # as the loader does where a process does not end by itself
    worker.join(timeout=10)
    assert worker.exitcode == 0


def test_images_are_augmented_on_the_device_of_the_draws() -> None:
    augmentation = Augmentation(padding=2, flip=True)
    pixels = torch.zeros(3, 8, 8, 3, dtype=torch.uint8, device="meta")
    draws = torch.zeros(3, 3, dtype=torch.int64, device="meta")
    assert augmentation.apply(pixels, draws).device.type == "meta"
