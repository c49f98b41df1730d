"""The names of what lies in the folder of a run."""

from pathlib import Path

LAST = Path("checkpoints") / "last.ckpt"
RECORD = Path(".hydra")
OVERRIDES = RECORD / "overrides.yaml"
CHOICES = RECORD / "hydra.yaml"
RESULT = Path("result.json")
