"""The pace of a training: images per second, and the time that is left."""

import time
from collections import deque
from collections.abc import Callable


class Pace:
    """Measures how fast batches pass, and so how long the rest of a run takes.

    The first batch does not count: it may be compiled. The time left is estimated from the present
    epoch and the one before, with their validation: a refined network is slower than it was.

    Args:
        clock: the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._n_batches = 0
        self._marks: deque[tuple[float, int]] = deque(maxlen=2)
        self._n_images = 0
        self._since: float | None = None
        self._images_per_second: float | None = None

    def begin_epoch(self) -> None:
        """Begin an epoch."""
        if self._n_batches:
            self._marks.append((self._clock(), self._n_batches))
        self._since = None

    def add_batch(self, n_images: int) -> None:
        """Count a batch that has been trained on."""
        now = self._clock()
        self._n_batches += 1
        if not self._marks:
            self._marks.append((now, self._n_batches))
        if self._since is None:
            self._since, self._n_images = now, 0
            return
        self._n_images += n_images
        if now > self._since:
            self._images_per_second = self._n_images / (now - self._since)

    def seconds_left(self, n_batches: float | None) -> float | None:
        """Return the seconds that so many batches take, None if that is not known yet."""
        if n_batches is None or not self._marks:
            return None
        start, before = self._marks[0]
        n_measured = self._n_batches - before
        return (self._clock() - start) / n_measured * n_batches if n_measured else None

    def told(self, n_batches: float | None) -> list[str]:
        """Return what is known of images/s and the time that so many batches take, as text."""
        seconds = self.seconds_left(n_batches)
        speed = self._images_per_second
        return [
            *([] if speed is None else [f"{speed:,.0f} images/s"]),
            *([] if seconds is None else [f"{duration(round(seconds))} left"]),
        ]


def duration(seconds: float) -> str:
    """Return a time as text, such as 2.18 s, 5 min 12 s or 2 h 5 min."""
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"
