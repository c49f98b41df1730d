"""The formats of files: their names, their precisions, and the packages that they need."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from contnet.errors import ConfigError
from contnet.export.model import Model, Runtime

PRECISIONS = ("float32", "bf16", "int8")


@dataclass(frozen=True)
class Format:
    """A format of files.

    Args:
        suffix: the end of a file's name.
        module: the module with `write` and `read`.
        runtime: the name of what computes a file.
        precisions: those that a file may have.
        refusal: why it may have no others.
        packages: what `write` and `read` import in addition to contnet's own needs.
        unrolls: True if a file holds the graph of a manifestation, step by step.
    """

    suffix: str
    module: str
    runtime: str
    precisions: tuple[str, ...]
    refusal: str
    packages: tuple[str, ...] = ()
    unrolls: bool = True

    @property
    def write(self) -> Callable[[Path, Model], None]:
        """Write a network to a file."""
        return self._function("write")

    @property
    def read(self) -> Callable[[Path, Any], Runtime]:
        """Return the function that the runtime computes from a file, given what is trusted."""
        return self._function("read")

    def _function(self, name: str) -> Any:
        return getattr(import_module(f"contnet.export.{self.module}"), name)


FORMATS = {
    "onnx": Format(
        ".onnx",
        "onnx_format",
        "ONNX Runtime",
        ("float32", "int8"),
        "ONNX Runtime has no convolution in bf16 on a CPU",
        ("onnx", "onnxruntime", "onnxscript"),
    ),
    "torch_export": Format(
        ".pt2",
        "program_format",
        "torch.export",
        ("float32", "bf16"),
        "only format=onnx is quantised to int8",
    ),
    "safetensors": Format(
        ".safetensors",
        "weights_format",
        "contnet",
        ("float32", "bf16"),
        "only format=onnx is quantised to int8",
        unrolls=False,
    ),
}


def find_format(name: Any, precision: Any) -> Format:
    """Return the format called `name`, which has a precision and whose packages are installed.

    Raises:
        ConfigError: if there is no such format or precision, or a package is missing.
    """
    for key, value, allowed in (("format", name, FORMATS), ("precision", precision, PRECISIONS)):
        if value not in allowed:
            raise ConfigError(f"{key} must be one of {', '.join(allowed)}; got {value!r}")
    found = FORMATS[name]
    if precision not in found.precisions:
        raise ConfigError(
            f"precision must be one of {', '.join(found.precisions)} with format={name}, got "
            f"{precision!r}; {found.refusal}"
        )
    for package in found.packages:
        specification = find_spec(package)
        if specification is None or specification.origin is None:
            raise ConfigError(
                f"format={name} needs the package {package}; "
                "install it with pip install 'contnet[export]'"
            )
    return found
