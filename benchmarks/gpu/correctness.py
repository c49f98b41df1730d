"""Equal results on the device and on the CPU.

The state and the gradients of an ODE block are compared for every scheme, way to the gradient and
basis. An error is the largest difference over the largest entry of the reference, for x(1), for all
gradients together (of x(0) and of the parameters), and for all running statistics together.

The reference is the CPU in float32, also for bf16. What the CPU itself loses in bf16 is measured
beside it: where that is more than the limit, the device may lose as much.

Softplus takes the place of ReLU. The derivative of ReLU jumps, and a sum of another order carries a
few entries to its other side. That alone moved gradients of a network in float32 by up to 7.5e-3,
from one algorithm for convolutions to another on one CPU; with Softplus it was at most 3.6e-6.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.outcome import Line, Outcome, none_of
from benchmarks.gpu.settings import Settings
from contnet import ADAPTIVE_SCHEMES, SCHEMES, ContinuousNet, ODEBlock, ResNet
from contnet.networks.units import ResidualUnit, initialise
from contnet.ode.bases import BASES
from contnet.ode.gradient import GRADIENTS
from contnet.ode.schemes import TORCHDIFFEQ_SCHEMES, AdaptiveScheme, find_scheme

LIMITS = {torch.float32: 1e-4, torch.bfloat16: 1e-2}
"""The largest error in each precision."""

TOLERANCE = 1e-3
"""Of adaptive schemes. Steps are chosen alike on both devices while rounding is far below it."""

Results = dict[str, list[Tensor]]


@dataclass(frozen=True)
class Case:
    """A block to compare."""

    scheme: str
    gradient: str
    basis: str

    def __str__(self) -> str:
        return f"{self.scheme} {self.gradient} {self.basis}"

    def block(self, channels: int) -> ODEBlock:
        """Return the block with random weights.

        Raises:
            ValueError: if the scheme, the way to the gradient and the basis exclude each other.
        """
        scheme = find_scheme(self.scheme)
        tolerance = TOLERANCE if isinstance(scheme, AdaptiveScheme) else None
        return ODEBlock(
            lambda: _unit(channels),
            n_basis=2,
            scheme=scheme,
            gradient=self.gradient,
            basis=self.basis,
            rtol=tolerance,
            atol=tolerance,
        )


def _unit(channels: int) -> nn.Module:
    unit = ResidualUnit(
        channels, channels, batch_norm=True, use_skipinit=False, activation_before_conv=False
    )
    unit.apply(initialise)
    return without_kinks(unit)


def without_kinks(module: nn.Module) -> nn.Module:
    """Replace every ReLU of a module by Softplus."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, nn.Softplus())
    return module


def fixed_cases(quick: bool) -> Iterator[Case]:
    """Yield every scheme with fixed steps, gradient and basis that go together."""
    for scheme in ("euler", "heun2") if quick else SCHEMES:
        for gradient in GRADIENTS:
            for basis in BASES:
                if possible(case := Case(scheme, gradient, basis)):
                    yield case


def adaptive_cases(quick: bool) -> Iterator[Case]:
    """Yield every adaptive scheme and gradient that go together, and pairs in every basis."""
    for scheme in ("bosh3",) if quick else (*ADAPTIVE_SCHEMES, *TORCHDIFFEQ_SCHEMES):
        in_every = scheme in ADAPTIVE_SCHEMES and not quick
        for gradient in GRADIENTS:
            for basis in BASES if in_every else ("piecewise_constant",):
                found = find_scheme(scheme)
                assert isinstance(found, AdaptiveScheme)
                trains = found.has_gradient or gradient == "adjoint"
                if trains and possible(case := Case(scheme, gradient, basis)):
                    yield case


def possible(case: Case) -> bool:
    """Return True if the settings of a block go together."""
    try:
        case.block(1)
    except ValueError:
        return False
    return True


def results(module: nn.Module, x: Tensor, direction: Tensor, precision: torch.dtype) -> Results:
    """Return the output of a module, all its gradients and all its buffers, on the CPU.

    Args:
        module: a new module, on the device of x.
        x: the input.
        direction: the loss is the mean of the output times it.
        precision: the precision of autocast; float32 turns it off.
    """
    x = x.clone().requires_grad_()
    with torch.autocast(x.device.type, precision, enabled=precision != torch.float32):
        output = module(x)
    (output.float() * direction).mean().backward()
    gradients = [x.grad, *(p.grad for p in module.parameters())]
    return {
        "output": [output.detach().float().cpu()],
        "gradients": [g.cpu() for g in gradients if g is not None],
        "statistics": [b.float().cpu() for b in module.buffers()],
    }


def errors(found: Results, reference: Results) -> dict[str, float]:
    """Return the largest difference over the largest entry, for each kind of result."""
    worst = {}
    for kind, tensors in reference.items():
        differences = [
            (a - b).abs().max().item() for a, b in zip(found[kind], tensors, strict=True)
        ]
        largest = max((tensor.abs().max().item() for tensor in tensors), default=0.0)
        worst[kind] = max(differences, default=0.0) / (largest or 1.0)
    return worst


Make = Callable[[], nn.Module]
"""Makes a module with the random weights that are due."""


def compared(
    make: Make, x: Tensor, direction: Tensor, device: str, precision: torch.dtype
) -> dict[str, float]:
    """Return the largest errors of a module on a device, and of the CPU in the same precision."""

    def on(place: str, bits: torch.dtype) -> Results:
        torch.manual_seed(0)
        return results(make().to(place), x.to(place), direction.to(place), bits)

    reference = on("cpu", torch.float32)
    found = errors(on(device, precision), reference)
    own = (
        0.0 if precision == torch.float32 else max(errors(on("cpu", precision), reference).values())
    )
    return {**found, "of the CPU": own}


def judged(
    what: str,
    modules: Mapping[str, Make],
    x: Tensor,
    direction: Tensor,
    device: str,
    precision: torch.dtype,
) -> tuple[list[Line], dict[str, Any]]:
    """Compare modules, and return the lines of the table and the errors of each module.

    A module that raises an error counts as one that differs, and its error is named.
    """
    limit = LIMITS[precision]
    figures: dict[str, Any] = {}
    failed, worst = [], {"output": 0.0, "gradients": 0.0, "statistics": 0.0}
    for name, make in modules.items():
        try:
            found = compared(make, x, direction, device, precision)
        except Exception as error:  # such as tensors on two devices
            figures[name] = {"error": str(error)}
            failed.append(f"{name} ({(str(error).splitlines() or [''])[0][:80]})")
            continue
        figures[name] = found
        own = found["of the CPU"]
        worst = {kind: max(value, found[kind]) for kind, value in worst.items()}
        if not max(found[kind] for kind in worst) <= max(limit, own):
            failed.append(name)
    name = str(precision).removeprefix("torch.")
    largest = ", ".join(f"{kind} {value:.1e}" for kind, value in worst.items())
    lines = [
        none_of(f"{what}, {name}: equal to the CPU", len(modules), failed),
        Line(f"{what}, {name}: largest error", largest, f"at most {limit:g}"),
    ]
    return lines, figures


def of_fixed_steps(settings: Settings) -> Outcome:
    """Compare blocks with fixed steps in both precisions, and whole networks in float32."""
    settings.without_tf32()
    x, direction = _input(settings)
    blocks = {str(case): _maker(case, x.shape[1]) for case in fixed_cases(settings.quick)}
    lines: list[Line] = []
    figures: dict[str, Any] = {}
    for precision in LIMITS:
        more, found = judged("blocks", blocks, x, direction, settings.device, precision)
        lines += more
        figures[str(precision)] = found
    images = torch.randn(settings.batch_size // 4, 3, settings.image_size, settings.image_size)
    networks: dict[str, Make] = {
        "ResNet": lambda: without_kinks(ResNet(depth=8, alpha=settings.alpha))
    }
    for scheme in ("euler",) if settings.quick else SCHEMES:
        networks[scheme] = _network_maker(scheme, settings.alpha)
    logits = torch.randn(len(images), 10)
    more, found = judged("networks", networks, images, logits, settings.device, torch.float32)
    return Outcome([*lines, *more], {**figures, "networks": found})


def of_adaptive_steps(settings: Settings) -> Outcome:
    """Compare blocks with adaptive steps in float32. In bf16, rounding chooses the steps."""
    settings.without_tf32()
    x, direction = _input(settings)
    blocks = {str(case): _maker(case, x.shape[1]) for case in adaptive_cases(settings.quick)}
    lines, figures = judged("adaptive blocks", blocks, x, direction, settings.device, torch.float32)
    return Outcome(lines, figures)


def _input(settings: Settings) -> tuple[Tensor, Tensor]:
    n_images, channels, size = (4, 2, 4) if settings.quick else (16, 16, 16)
    torch.manual_seed(0)
    x = torch.randn(n_images, channels, size, size)
    return x, torch.randn_like(x)


def _maker(case: Case, channels: int) -> Make:
    return lambda: case.block(channels)


def _network_maker(scheme: str, alpha: int) -> Make:
    return lambda: without_kinks(ContinuousNet(alpha=alpha, initial_time_d=2, scheme=scheme))
