"""How a command ends early."""


class ConfigError(ValueError):
    """Something that the user can put right, seen before a run has begun: one line with the key, the value and what is
    allowed."""


class RunError(RuntimeError):
    """Something that happened to a run while it was under way: one line that says what to do. What the run has written
    stays."""


class StopRun(SystemExit):
    """A run that was told to stop and has saved its state; `code` is what the process ends with."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(code)
        self.reason = reason


class Refusal(SystemExit):
    """A `ConfigError` of a callback of Hydra's, which lets no other exception through."""

    def __init__(self, reason: str) -> None:
        super().__init__(1)
        self.reason = reason
