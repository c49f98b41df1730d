import inspect

import pytest
from pytorch_lightning import Trainer

from contnet import ADAPTIVE_SCHEMES, SCHEMES
from contnet.commands import build
from contnet.commands.depth import warn_of_long_steps
from contnet.ode.depth_time import depth_time
from contnet.ode.schemes import TORCHDIFFEQ_SCHEMES
from tests.configuration import NAMED, composed, options


@pytest.mark.parametrize("option", options())
def test_every_option_of_every_group_composes_to_a_valid_configuration(option: str) -> None:
    group, _, name = option.partition("=")
    named = [f"{group}._target_={NAMED[group]}"] if name == "own" else []
    named += ["scheme.gradient=adjoint"] if name == "torchdiffeq/scipy_solver" else []
    build.check(composed(option, "++dataset.root=data", *named))


def test_every_scheme_has_its_option() -> None:
    names = {composed(option).scheme.name for option in options() if option.startswith("scheme=")}
    assert names == {*SCHEMES, *ADAPTIVE_SCHEMES, *TORCHDIFFEQ_SCHEMES}


def test_the_trainer_group_has_every_key_of_lightnings_trainer() -> None:
    keys = set(inspect.signature(Trainer.__init__).parameters) - {"self", "callbacks", "logger"}
    assert set(composed().trainer) - {"_target_"} == keys


def test_the_defaults_are_the_seeds_recipe() -> None:
    config = composed()
    assert config.epochs == 120
    assert config.dataset.batch_size == 128
    assert config.lr_schedule.milestones == [30, 60, 90]
    assert (config.optimizer.lr, config.optimizer.momentum, config.optimizer.weight_decay) == (
        0.1,
        0.9,
        5e-4,
    )


@pytest.mark.parametrize("option", ["model=continuous_net", "model=continuous_net_act_first"])
def test_the_network_takes_its_shape_from_the_data_and_its_scheme_from_the_group(
    option: str,
) -> None:
    config = composed(option, "scheme=dopri5", "scheme.rtol=1e-3", "model.initial_time_d=2")
    network = build.network(config.model, build.data(config.dataset, train=False))
    assert network.stem[0].in_channels == 1
    assert (network.num_classes, depth_time(network).n_basis, depth_time(network).scheme.name) == (
        10,
        2,
        "dopri5",
    )
    assert depth_time(network).scheme.rtol == 1e-3


class Shape:
    """The shape of a data set, all that a network is built for."""

    def __init__(self, num_classes: int) -> None:
        self.in_channels = 3
        self.num_classes = num_classes


def test_a_step_of_many_residuals_at_once_is_worth_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def prepare(*overrides: str) -> None:
        config = composed("model.time_epsilon=8", *overrides)
        warn_of_long_steps(config.model, build.network(config.model, Shape(10)))

    for harmless in ("model.initial_time_d=4", "model.use_skipinit=true", "scheme=dopri5"):
        prepare(harmless)
    assert caplog.text == ""
    prepare()
    assert (
        "model.time_epsilon=8 in 1 step is likely to diverge: a step adds 8 times the residual;"
        in caplog.text
    )
