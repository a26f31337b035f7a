"""Numbers as people read them."""

from typing import Final

_HUNDRED: Final = 100


def number(value: float) -> str:
    """Write as many digits as mean something."""
    if abs(value) >= _HUNDRED:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"
