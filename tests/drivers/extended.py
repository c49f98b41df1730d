"""Run a command of a contnet that has a scheme and a basis more: `... train key=value ...`.

They are added before the commands are imported, as if they stood in the source.
"""

import sys
from fractions import Fraction
from importlib import reload

from contnet.commands import evaluate, rules, study_request, train
from contnet.ode.bases import BASES
from contnet.ode.basis import Basis
from contnet.ode.polynomials import Polynomial
from contnet.ode.schemes import SCHEMES, Scheme

SSPRK3 = Scheme(
    "ssprk3",
    order=3,
    a=((), (Fraction(1),), (Fraction(1, 4), Fraction(1, 4))),
    b=(Fraction(1, 6), Fraction(1, 6), Fraction(2, 3)),
    c=(Fraction(0), Fraction(1), Fraction(1, 2)),
)


class Powers(Basis):
    """theta(t) = sum over k of t^k theta_k."""

    name = "powers"
    nodal = False

    @property
    def n_elements(self) -> int:
        return 1

    @property
    def n_refined(self) -> int:
        return 2 * self.n_basis

    def functions(self, element: int) -> dict[int, Polynomial]:
        return {k: (Fraction(0),) * k + (Fraction(1),) for k in range(self.n_basis)}


if __name__ == "__main__":
    SCHEMES[SSPRK3.name] = SSPRK3
    BASES[Powers.name] = Powers
    for module in (rules, study_request):  # a server of forks has imported them already
        reload(module)
    command = sys.argv.pop(1)
    {"train": train.main, "evaluate": evaluate.main}[command]()
