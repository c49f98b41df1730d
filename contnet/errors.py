"""Exceptions that end a command early."""


class ConfigError(ValueError):
    """An error that the user can correct, found before a run has started.

    Its message is one line: the key, the value and what is allowed.
    """


def described(error: BaseException) -> str:
    """Return the type and the message of an error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class RunError(RuntimeError):
    """A failure during a run, such as a full disk.

    Its message is one line that says what to do. The files of the run remain.
    """


class StopRun(SystemExit):
    """The end of a run that was asked to stop and has saved its state.

    Args:
        reason: why it stopped.
        code: the exit code of the process.
    """

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(code)
        self.reason = reason


class Refusal(SystemExit):
    """A `ConfigError` raised in a callback of Hydra.

    Hydra catches every `Exception` there, but lets a `SystemExit` pass.

    Args:
        reason: the message, one line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(1)
        self.reason = reason
