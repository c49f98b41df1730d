"""Serve a network within a budget: while requests queue up, a cheaper manifestation answers them.

One set of weights computes all of them, so to change from one to another loads nothing. A study
(`contnet-evaluate`) has measured how accurate and how fast each one is.

    python serving.py                     # trains and studies a network of digits first
    python serving.py NETWORK STUDY       # a checkpoint of digits, and its invariance.json
"""

import argparse
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

import contnet
from contnet.data import digits
from contnet.ode.manifestation import Manifestation

ACCURACY_LOSSES = (0, 0.005, 0.02, 1)
"""What a step of the dial may lose against the most accurate manifestation; 1 is anything."""

PATIENCE = 3
"""Requests that may wait for each step of the dial."""

Request = tuple[Tensor, Tensor]
"""An image (1, 1, 8, 8), and its label (1,), which tells whether the answer is correct."""


@dataclass(frozen=True)
class Answer:
    """How a request was answered: by which manifestation, after how long, and if correctly."""

    manifestation: Manifestation
    seconds: float
    correct: bool


def make_dial(study: Path, latency_ms: float | None) -> list[Manifestation]:
    """Return manifestations within the budget, from the most accurate to the cheapest.

    Raises:
        ValueError: if there is none, or the file is not a study.
    """
    cheapest = contnet.cheapest(study, accuracy_loss=1, latency_ms=latency_ms)
    dial = []
    for accuracy_loss in ACCURACY_LOSSES:
        with suppress(ValueError):  # it takes longer than the budget allows
            dial.append(contnet.cheapest(study, accuracy_loss, latency_ms))
    return list(dict.fromkeys([*dial, cheapest]))


def answer(network: contnet.TrainedNetwork, choice: Manifestation, image: Tensor) -> Tensor:
    """Return the label (1,) that a manifestation predicts for an image."""
    network.set_manifestation(choice.scheme, choice.n_time_steps)
    return network.predict(image).labels


def serve(
    network: contnet.TrainedNetwork,
    dial: Sequence[Manifestation],
    requests: Sequence[Request],
    arrivals: Sequence[float],
) -> list[Answer]:
    """Answer each request after it has arrived, at so many seconds from now.

    The times of arrival stand in for a socket. The longer the queue, the cheaper the manifestation.
    """
    coming = deque(zip(arrivals, requests, strict=True))
    waiting: deque[tuple[float, Request]] = deque()
    answers: list[Answer] = []
    start = time.perf_counter()
    while coming or waiting:
        now = time.perf_counter() - start
        while coming and coming[0][0] <= now:
            waiting.append(coming.popleft())
        if not waiting:
            time.sleep(coming[0][0] - now)
            continue
        arrived, (image, label) = waiting.popleft()
        choice = dial[min(len(waiting) // PATIENCE, len(dial) - 1)]
        correct = bool(answer(network, choice, image) == label)
        answers.append(Answer(choice, time.perf_counter() - start - arrived, correct))
    return answers


def rush_hour(n_requests: int, seconds: float) -> list[float]:
    """Return times of arrival: few at first, then more than can be answered, then few again.

    Args:
        n_requests: their number.
        seconds: what the most accurate manifestation takes for an answer.
    """
    third = n_requests // 3
    gaps = [2 * seconds] * third + [0.5 * seconds] * (n_requests - 2 * third)
    return list(accumulate(gaps + [2 * seconds] * third))


def measure(
    network: contnet.TrainedNetwork, choice: Manifestation, requests: Sequence[Request]
) -> float:
    """Return the mean seconds of an answer when nothing waits."""
    answer(network, choice, requests[0][0])  # the first one takes longer
    start = time.perf_counter()
    for image, _ in requests:
        answer(network, choice, image)
    return (time.perf_counter() - start) / len(requests)


def table(answers: Sequence[Answer], dial: Sequence[Manifestation]) -> str:
    """Return a table with a line for each manifestation, and one for all answers."""
    lines = [f"{'':22}  answers  accuracy  median ms  95 % within ms"]
    groups = {str(one): [each for each in answers if each.manifestation == one] for one in dial}
    for name, group in {**groups, "all": answers}.items():
        if group:
            accuracy = sum(each.correct for each in group) / len(group)
            ms = sorted(1e3 * each.seconds for each in group)
            median, most = ms[len(ms) // 2], ms[int(0.95 * len(ms))]
            lines.append(f"{name:22}  {len(group):7}  {accuracy:8.4f}  {median:9.1f}  {most:14.1f}")
    return "\n".join(lines)


def train_and_study(folder: Path, epochs: int) -> tuple[Path, Path]:
    """Train a network for several manifestations, and return its folder and its study."""
    training = [
        "manifestations=random",
        "manifestations.pairs=[[euler,2],[midpoint,2],[rk4_classic,2]]",
        "model.alpha=4",
        "model.initial_time_d=2",
        "optimizer.lr=0.05",
        "lr_schedule=onecycle",
        "dataset.batch_size=64",
        f"epochs={epochs}",
        "hydra.run.dir=network",
    ]
    study = ["ckpt_path=network", "sweep.convergence=false", "hydra.run.dir=study"]
    subprocess.run(["contnet-train", *training], cwd=folder, check=True)
    subprocess.run(["contnet-evaluate", *study], cwd=folder, check=True)
    return folder / "network", folder / "study" / "invariance.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", type=Path, nargs="?", help="a checkpoint, or a run's folder")
    parser.add_argument("study", type=Path, nargs="?", help="the invariance.json of its study")
    parser.add_argument(
        "--latency-ms", type=float, help="the budget: most ms an image in the study"
    )
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=12, help="if a network is trained first")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # an image this small is not worth sharing among threads
    if arguments.network is not None and arguments.study is None:
        parser.error("a network needs its study: contnet-evaluate writes invariance.json")

    with TemporaryDirectory() as folder:
        path, study = arguments.network, arguments.study
        if path is None:
            path, study = train_and_study(Path(folder), arguments.epochs)
        try:
            network = contnet.load(path)
            dial = make_dial(study, arguments.latency_ms)
        except ValueError as error:
            parser.error(str(error))

    data = digits(batch_size=1, test_batch_size=1, val_size=0, split_seed=0, num_workers=0)
    images = list(data.test_loader())
    requests = [images[i % len(images)] for i in range(arguments.requests)]
    arrivals = rush_hour(len(requests), measure(network, dial[0], requests[:50]))
    for title, choices in (("The most accurate alone", dial[:1]), ("The dial", dial)):
        answers = serve(network, choices, requests, arrivals)
        print(f"\n{title}\n{table(answers, choices)}")


if __name__ == "__main__":
    main()
