"""How many of something, in words: the one place that knows that one is no plural.

Takes numbers and nouns in the singular.
"""


def numbered(count: int, noun: str) -> str:
    """Return a number with its noun: 1 problem, 1,200 problems, 2 families, 3 records of a file."""
    noun, space, rest = noun.partition(" ")
    return f"{count:,} {noun if count == 1 else plural(noun)}{space}{rest}"


def plural(noun: str) -> str:
    """Return the plural of a regular noun, as those that are counted here are."""
    if noun.endswith("y") and noun[-2:-1] not in tuple("aeiou"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
