"""Numbers on a command line: what is no sensible one is refused before anything is run."""

import argparse
import math


def whole(text: str) -> int:
    """Read a number of things: 1 or more."""
    if not (text.isascii() and text.isdecimal()) or not int(text):
        raise argparse.ArgumentTypeError("expected a whole number of 1 or more")
    return int(text)


def positive(text: str) -> float:
    """Read a duration or a rate: above 0, and one that ends."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("expected a number above 0")
    return number
