"""The words and signs that say numbers: tables for whoever reads prose, nothing else."""

from fractions import Fraction
from typing import Final

_ONES: Final = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
UNITS: Final = {word: n for n, word in enumerate((_ONES + " seventeen eighteen nineteen").split())}
TENS: Final = {
    word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)
}
SCALES: Final = {
    "thousand": 10**3, "lakh": 10**5, "million": 10**6, "crore": 10**7, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
MULTIPLIERS: Final = {
    word + plural: Fraction(n) for word, n in (SCALES | {"hundred": 100, "dozen": 12}).items() for plural in ("", "s")
}  # what a number before them is multiplied by
LETTERS: Final = {  # the same, written onto digits: $280k, 2.5M
    "k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9, "t": 10**12, "tn": 10**12,
}  # fmt: skip
PARTS: Final = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4, "twelfth": 12, "twelfths": 12} | {
    word + plural: n
    for n, word in enumerate(["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], start=3)
    for plural in ("", "s")
} | {"twentieth": 20, "twentieths": 20, "hundredth": 100, "hundredths": 100}  # fmt: skip
FINER: Final = {  # parts only behind a number: three sixteenths, and not the sixteenth
    word + plural: n
    for n, word in enumerate("thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(), start=13)
    for plural in ("th", "ths")
} | {
    word + plural: n
    for word, n in (
        ("eleven", 11), ("thirtie", 30), ("fortie", 40), ("fiftie", 50), ("sixtie", 60), ("seventie", 70),
        ("eightie", 80), ("ninetie", 90), ("thousand", 10**3), ("million", 10**6),
    )
    for plural in ("th", "ths")
}  # fmt: skip
ORDINALS: Final = {word: n for n, word in enumerate(["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"],
                                                    start=3)} | {"first": 1}  # fmt: skip
PLAIN_PARTS: Final = ("half", "halv", "quarter", "third")  # parts first, and places in a row only then
RELATIONS: Final = {
    "twice": 2, "double": 2, "doubles": 2, "doubled": 2, "doubling": 2, "couple": 2, "pair": 2, "pairs": 2, "twins": 2,
    "thrice": 3, "triple": 3, "triples": 3, "tripled": 3, "tripling": 3, "quadruple": 4, "quadruples": 4,
    "quadrupled": 4, "quadrupling": 4, "quintuple": 5, "quintuples": 5, "quintupled": 5, "sextuple": 6, "sextupled": 6,
    "septuple": 7, "septupled": 7, "octuple": 8, "octupled": 8, "dozen": 12, "dozens": 12,
    "duo": 2, "duos": 2, "trio": 3, "trios": 3, "quartet": 4, "quartets": 4, "quintet": 5, "quintets": 5,
} | {
    word + plural: n
    for n, word in enumerate("triplet quadruplet quintuplet sextuplet septuplet octuplet nonuplet".split(), start=3)
    for plural in ("", "s")
} | {
    word + "fold": n for word, n in (UNITS | TENS | {"hundred": 100, "thousand": 1000}).items() if n > 1
}  # fmt: skip
NUMBER_WORDS: Final = frozenset({"a", "an", *UNITS, *TENS, *PARTS, *RELATIONS})  # a number begins with one of these
GLYPHS: Final = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8), "⅑": (1, 9),
    "⅒": (1, 10), "⅐": (1, 7),
}  # fmt: skip
CURRENCY: Final = "$€£¥₹₽₩₱₦₺₫฿₪₴"
MEASURES: Final = frozenset(
    "second seconds minute minutes hour hours day days week weeks month months year years inch inches foot feet yard "
    "yards mile miles meter meters metre metres kilometer kilometers cm km ounce ounces pound pounds ton tons gram "
    "grams kilogram kilograms kg cup cups pint pints quart quarts gallon gallons liter liters litre litres tablespoon "
    "tablespoons teaspoon teaspoons acre acres times percent".split()
)
DOZEN: Final = Fraction(12)
BAKERS: Final = Fraction(13)
THIN: Final = "\u00a0\u2009\u202f"  # spaces that hold a number together
_LABELLED: Final = "".join(  # what such a number belongs to: on day 6, 760 people came
    f"(?<!{label} )" for label in (
        "day Day week Week month Month year Year age Age aged turned was is in In at At by By room Room page grade "
        "level chapter number group Group January February March April May June July August September October "
        "November December"
    ).split()
)  # fmt: skip
_COUNTED_IN: Final = "|".join(
    sorted({*MEASURES, "kgs", "ml", "mg", "mm", "g", "l", "m", "euros?", "EUR", "PLN", "kr", *SCALES})
)
DIGITS: Final = (
    r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"  # 80,000.50
    r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])(?:\.[0-9]+)?"  # 1,00,000
    rf"|[0-9]{{1,3}}(?:[. {THIN}'’][0-9]{{3}}){{1,9}},[0-9]{{2}}(?!,?[0-9])"  # 1 000,50
    rf"|[0-9]{{1,3}}(?:[{THIN}'’][0-9]{{3}})+(?![0-9])(?:\.[0-9]+)?"  # 1'000
    rf"|(?:(?<=[{CURRENCY}])|(?<=[{CURRENCY}] ))[0-9]{{1,9}},[0-9]{{2}}(?!,?[0-9])"  # €3,50
    rf"|(?<![0-9],)[0-9]{{1,9}},[0-9]{{1,2}}(?=[ -]?(?:[%€₽₺₴]|zł|(?:{_COUNTED_IN})\b))"  # 3,5 km
    r"|[0-9]{1,3}(?:\.[0-9]{3}){2,9}(?![0-9])"  # 1.000.000
    rf"|(?:(?<=[{CURRENCY}])|(?<=[{CURRENCY}] ))[0-9]{{1,3}}(?: [0-9]{{3}}){{1,9}}(?![0-9])(?:\.[0-9]+)?"  # $400 000
    r"|[0-9]{1,3}(?: [0-9]{3}){0,9} 000(?![0-9])(?:\.[0-9]+)?"  # 400 000
    rf"|(?=[0-9]{{1,3}}, [0-9]{{3}})(?<![0-9],)(?<![0-9], ){_LABELLED}"
    r"[0-9]{1,3}, [0-9]{3}(?![0-9])(?!,? (?:and |or )?[0-9])(?:\.[0-9]+)?"  # 6, 760
    r"|[0-9]+(?:\.[0-9]+)?|(?<![0-9A-Za-z.])\.[0-9]+"  # Rs.500 has no decimals
)
