"""What tokens cost: money and energy of devices that are held for a while."""

from __future__ import annotations

from floorline.num import Num


def dollars_per_million_tokens(devices: Num, price: Num, seconds: Num, tokens: Num, utilisation: Num) -> Num:
    r"""Money for a million tokens, of devices that are paid by the hour and busy for a share of the time.

    $$c = \frac{10^6\, n\, p\, t}{u\, N}, \quad p \text{ a second: an hour has } 3600$$

    devices      n  devices                                    [-]
    price        p  of one device for an hour                  [USD/h]
    seconds      t  time that the tokens take                  [s]
    tokens       N  tokens made in it                          [-]
    utilisation  u  share of the paid time that is so used     [-]
    returns      c  money for a million tokens                 [USD]

    Source: counting. Example: one device at 3.60 USD an hour makes a thousand tokens a second, all the time, then half of it.

    >>> dollars_per_million_tokens(1.0, 3.6, 1.0, 1000.0, 1.0), dollars_per_million_tokens(1.0, 3.6, 1.0, 1000.0, 0.5)
    (1.0, 2.0)
    """
    return 1e6 * devices * price / 3600.0 * seconds / (utilisation * tokens)


def energy_per_token(devices: Num, power: Num, seconds: Num, tokens: Num) -> Num:
    r"""Energy for each token of devices that draw some power all the while.

    $$E = \frac{n\, P\, t}{N}$$

    devices  n  devices                    [-]
    power    P  of one device              [J/s]
    seconds  t  time that the tokens take  [s]
    tokens   N  tokens made in it          [-]
    returns  E  energy of a token          [J]

    Source: counting. Example: eight devices of 700 W make 2800 tokens a second.

    >>> energy_per_token(8.0, 700.0, 1.0, 2800.0)
    2.0
    """
    return devices * power * seconds / tokens
