"""The names of what lies in the folder of a run."""

from pathlib import Path

LAST = Path("checkpoints") / "last.ckpt"
RECORD = Path(".hydra")
OVERRIDES = RECORD / "overrides.yaml"
CHOICES = RECORD / "hydra.yaml"
RESULT = Path("result.json")


def relative(path: Path) -> Path:
    """Return a path relative to the current folder, or unchanged if it lies elsewhere."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
