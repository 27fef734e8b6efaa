"""How long something takes, as it is written: in words, about, and as on a clock.

Takes seconds. Nothing else writes times for people.
"""

from typing import Final

from mlx_trace.numbered import numbered

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def lasting(seconds: float) -> str:
    """Return a time in words: 40 seconds, 1 minute, 1.5 hours."""
    if round(seconds) < _MINUTE:
        return numbered(round(seconds), "second")
    if round(seconds / _MINUTE) < _HOUR // _MINUTE:
        return numbered(round(seconds / _MINUTE), "minute")
    hours = f"{seconds / _HOUR:.1f}".removesuffix(".0")
    return f"{hours} hour" if hours == "1" else f"{hours} hours"


def roughly(seconds: float) -> str:
    """Return a time that was computed, in no more digits than it is worth: minutes, fives, and then hours."""
    minutes = seconds / _MINUTE
    if minutes < 10:
        return f"{max(1, round(minutes))} min"
    if minutes < 95:
        return f"{5 * round(minutes / 5)} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.1f} days"


def clock(seconds: float) -> str:
    """Return a time to come as 0:42, 12:05 or 3:07:00, and from two days on in days."""
    whole = round(seconds)
    if whole >= 2 * _DAY:
        return f"{whole / _DAY:.0f} days"
    hours, rest = divmod(whole, _HOUR)
    return f"{hours}:{rest // _MINUTE:02}:{rest % _MINUTE:02}" if hours else f"{rest // _MINUTE}:{rest % _MINUTE:02}"
