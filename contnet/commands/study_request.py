"""The request of evaluate.py: what its configuration asks of a study."""

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Self

from omegaconf import DictConfig, ListConfig

from contnet import arguments
from contnet.commands.failures import config_errors
from contnet.commands.rules import Rule, above_0, at_least_0, positive_integer
from contnet.errors import ConfigError
from contnet.invariance.budget import Budget
from contnet.invariance.plan import Plan
from contnet.ode.bases import BASES, make_basis
from contnet.ode.schemes import scheme_names

scheme: Rule = partial(arguments.one_of, allowed=scheme_names())
basis: Rule = partial(arguments.one_of, allowed=BASES)


@dataclass(frozen=True)
class Request:
    """A checked request.

    Args:
        plan: the variants to evaluate.
        budget: the limits within which to choose one of them; None without limits.
        strict: True if the command ends with an exit code when a network is not invariant.
        saves: True if projections are saved as checkpoints.
    """

    plan: Plan
    budget: Budget | None
    strict: bool
    saves: bool

    @classmethod
    def of(cls, config: DictConfig) -> Self:
        """Return the request in a configuration.

        Raises:
            ConfigError: if a value of `sweep` or `project` is not allowed.
        """
        return cls(
            _plan(config),
            _budget(config.sweep),
            _Group("sweep", config.sweep).value("strict", arguments.boolean),
            _saves(config.project),
        )


@dataclass(frozen=True)
class _Group:
    """A group of keys, whose values are checked as they are read."""

    name: str
    keys: DictConfig

    def value(self, key: str, rule: Rule) -> Any:
        with config_errors(self.name):
            return rule(key, self.keys[key])

    def list(self, key: str, rule: Rule) -> list[Any] | None:
        """Return a list without repetition; a single value stands for a list of one."""
        value = self.keys[key]
        if value is None:
            return None
        values = [*value] if isinstance(value, ListConfig) else [value]
        if not values:
            raise ConfigError(f"{self.name}.{key} must name at least one, got []")
        with config_errors(self.name):
            return [*dict.fromkeys(rule(key, single) for single in values)]


def _plan(config: DictConfig) -> Plan:
    sweep, project = _Group("sweep", config.sweep), _Group("project", config.project)
    plan = Plan(
        schemes=sweep.list("scheme", scheme),
        n_time_steps=sweep.list("n_time_steps", positive_integer),
        rtol=sweep.list("rtol", above_0),
        tolerance=sweep.value("tolerance", at_least_0),
        recalibrate=sweep.value("recalibrate", arguments.boolean),
        convergence=sweep.value("convergence", arguments.boolean),
        n_basis=project.list("n_basis", positive_integer),
        bases=project.list("basis", basis),
        seen=True,
    )
    with config_errors("project"):
        for name, n_basis in product(plan.bases or [], plan.n_basis or []):
            make_basis(name, n_basis)
    return plan


def _budget(sweep: DictConfig) -> Budget | None:
    conditions = _Group("sweep", sweep).list("budget", lambda name, value: value)
    with config_errors("sweep"):
        return None if conditions is None else Budget.parse(conditions)


def _saves(project: DictConfig) -> bool:
    saves: bool = _Group("project", project).value("save", arguments.boolean)
    if saves and project.n_basis is None and project.basis is None:
        raise ConfigError(
            "project.save must be false without project.n_basis and project.basis, got true"
        )
    return saves
