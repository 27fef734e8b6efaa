"""What can be set, under the name that whoever called knows: a flag on the command line, an argument from Python."""

from mlx_trace.notice import is_heard


def setting(name: str, value: object = None) -> str:
    """Return a setting as one would write it: `--resume` and `--model tiny`, or `resume=True` and `model='tiny'`.

    Without a value it is only named; a value of True is a flag by itself.
    """
    if is_heard():
        return name if value is None else f"{name}={value!r}"
    flag = f"--{name.replace('_', '-')}"
    return flag if value is None or value is True else f"{flag} {value}"


def field_setting(field: str) -> str:
    """Return how one says what a file calls a field: `--field question=NAME`, or `fields={'question': 'NAME'}`."""
    return f"fields={{{field!r}: 'NAME'}}" if is_heard() else f"--field {field}=NAME"
