"""The embedded pairs as data."""

from fractions import Fraction

from contnet.ode.dopri8 import DOPRI8
from contnet.ode.embedded import EmbeddedPair, completed, embedded_pair
from contnet.ode.polynomials import Polynomial
from contnet.ode.tableau import Rational, fractions


def _product(scale: Rational, *factors: list[Rational]) -> Polynomial:
    """Return `scale` times the product of polynomials with coefficients of 1, s, s^2, ..."""
    result: Polynomial = (Fraction(scale),)
    for factor in map(fractions, factors):
        product = [Fraction(0)] * (len(result) + len(factor) - 1)
        for i, x in enumerate(result):
            for j, y in enumerate(factor):
                product[i + j] += x * y
        result = tuple(product)
    return result


def _hermite(b: list[Rational], bump: list[Rational]) -> tuple[Polynomial, ...]:
    """Return the b_i(s) of Hermite's cubic between the ends of a step, plus bumps d_i s^2 (1-s)^2.

    The slopes at the ends are the first and the last stage (Hairer, Norsett, Wanner I, II.6).
    """
    found = []
    for i, (weight, d) in enumerate(zip(fractions(b), fractions(bump), strict=True)):
        slope = [0, 1, -2, 1] if i == 0 else [0, 0, -1, 1] if i == len(b) - 1 else [0, 0, 0, 0]
        terms = fractions(slope)
        found.append(
            (terms[0], terms[1], terms[2] + 3 * weight + d, terms[3] - 2 * weight - 2 * d, d)
        )
    return tuple(found)


HEUN_EULER = embedded_pair("heun_euler", (2, 1), a=[[], [1]], b=["1/2", "1/2"], b_embedded=[1, 0])

# Fehlberg 1969, NASA TR R-315, RK1(2). The step goes on with the second order.
FEHLBERG2 = embedded_pair(
    "fehlberg2",
    (2, 1),
    a=[[], ["1/2"], ["1/256", "255/256"]],
    b=["1/512", "255/256", "1/512"],
    b_embedded=["1/256", "255/256", 0],
)

# Bogacki, Shampine 1989, Applied Mathematics Letters 2(4).
BOSH3 = embedded_pair(
    "bosh3",
    (3, 2),
    a=[[], ["1/2"], [0, "3/4"], ["2/9", "1/3", "4/9"]],
    b=["2/9", "1/3", "4/9", 0],
    b_embedded=["7/24", "1/4", "1/3", "1/8"],
)

# Dormand, Prince 1980, Journal of Computational and Applied Mathematics 6(1).
_DOPRI5: list[Rational] = ["35/384", 0, "500/1113", "125/192", "-2187/6784", "11/84"]
DOPRI5 = embedded_pair(
    "dopri5",
    (5, 4),
    a=[
        [],
        ["1/5"],
        ["3/40", "9/40"],
        ["44/45", "-56/15", "32/9"],
        ["19372/6561", "-25360/2187", "64448/6561", "-212/729"],
        ["9017/3168", "-355/33", "46732/5247", "49/176", "-5103/18656"],
        _DOPRI5,
    ],
    b=[*_DOPRI5, 0],
    b_embedded=["5179/57600", 0, "7571/16695", "393/640", "-92097/339200", "187/2100", "1/40"],
    interpolant=_hermite(
        [*_DOPRI5, 0],
        [
            "-12715105075/11282082432",
            0,
            "87487479700/32700410799",
            "-10690763975/1880347072",
            "701980252875/199316789632",
            "-1453857185/822651844",
            "69997945/29380423",
        ],
    ),
)

# Tsitouras 2011, Computers and Mathematics with Applications 62(2). Published with 16 digits; the
# first weight of each row is the one that makes it add up.
_TSIT5 = completed(
    ["0.01", "0.4798896504144996", "1.379008574103742", "-3.290069515436081", "2.324710524099774"],
    1,
)
TSIT5 = embedded_pair(
    "tsit5",
    (5, 4),
    a=[
        [],
        ["0.161"],
        completed(["0.335480655492357"], "0.327"),
        completed(["-6.359448489975075", "4.362295432869581"], "0.9"),
        completed(
            ["-11.74888356406283", "7.495539342889836", "-0.09249506636175525"],
            "0.9800255409045097",
        ),
        completed(
            [
                "-12.92096931784711",
                "8.159367898576159",
                "-0.071584973281401",
                "-0.02826905039406838",
            ],
            1,
        ),
        _TSIT5,
    ],
    b=[*_TSIT5, 0],
    b_embedded=[
        x - y
        for x, y in zip(
            fractions([*_TSIT5, 0]),
            fractions(
                [
                    "-0.00178001105222577714",
                    "-0.0008164344596567469",
                    "0.007880878010261995",
                    "-0.1447110071732629",
                    "0.5823571654525552",
                    "-0.45808210592918697",
                    "1/66",
                ]
            ),
            strict=True,
        )
    ],
    interpolant=(
        _product(
            "-1.0530884977290216",
            [0, 1],
            ["-1.3299890189751412", 1],
            ["0.7139816917074209", "-1.4364028541716351", 1],
        ),
        _product("0.1017", [0, 0, 1], ["1.2949852507374631", "-2.1966568338249754", 1]),
        _product(
            "2.490627285651252793", [0, 0, 1], ["1.57803468208092486", "-2.38535645472061657", 1]
        ),
        _product(
            "-16.54810288924490272",
            [0, 0, 1],
            ["-1.21712927295533244", 1],
            ["-0.61620406037800089", 1],
        ),
        _product(
            "47.37952196281928122",
            [0, 0, 1],
            ["-1.203071208372362603", 1],
            ["-0.658047292653547382", 1],
        ),
        _product("-34.87065786149660974", [0, 0, 1], ["-1.2", 1], ["-0.666666666666666667", 1]),
        _product("2.5", [0, 0, 1], [-1, 1], ["-0.6", 1]),
    ),
    rounding="2e-15",
)

PAIRS: dict[str, EmbeddedPair] = {
    pair.name: pair for pair in (HEUN_EULER, FEHLBERG2, BOSH3, DOPRI5, TSIT5, DOPRI8)
}
"""The embedded pairs, by name."""
