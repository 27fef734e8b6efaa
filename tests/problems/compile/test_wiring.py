"""Of several equal numbers the one that the words mean is taken; what comes out right by chance alone is marked."""

from fractions import Fraction

import pytest

from mlx_trace.language.numbers import spell
from mlx_trace.problems.compile.choice import Origin, Use, ambiguous, ways
from mlx_trace.problems.compile.compiler import Refused, find_target
from mlx_trace.problems.compile.doubt import UNDECIDED
from mlx_trace.problems.compile.emit import shortest
from mlx_trace.problems.compile.node import walk

# Each number as value@its place among the question's, or without a place if it is common knowledge.
# fmt: off
WIRED = [
    ("60 minutes of an hour, and a tram of 60 minutes",
     "Ute skates for 5 hours. The tram to the rink took 60 minutes. How many minutes did she skate and ride?",
     "She skates 5 hours * 60 minutes/hour = 300 minutes.\nWith the tram it is 300 + 60 = 360 minutes.", 360,
     "add(60@1,mul(5@0,60))"),
    ("a conversion that the question states", "There are 12 inches to a foot. A rod is 7 feet long. How many inches is that?",
     "That is 7 feet * 12 inches per foot = 84 inches.", 84, "mul(12@0,7@1)"),
    ("legs", "A yard holds 4 dogs and 9 hens. How many legs do the dogs have, and the hens have 18?",
     "The dogs have 4*4=16 legs.\nWith the hens 16+18=34 legs.", 34, "add(18@2,mul(4,4@0))"),
    ("added legs", "On a pond swim 2 frogs, and a duck stands beside. How many legs are there?",
     "The frogs have 2*4=8 legs.\nWith the duck there are 8 legs + 2 legs = 10.", 10, "add(2,mul(2@0,4))"),
    ("weekdays", "Jo swims 2 laps on weekdays. On Sunday she swims 5 laps. How many laps is that in a week?",
     "On weekdays she swims 5*2=10 laps.\nIn a week it is 10 laps + 5 laps = 15 laps.", 15, "add(5@1,mul(2@0,5))"),
    ("3 more", "Pia had 7 kites on Monday. On Tuesday 3 kites were left, and her aunt brought 3 more. How many are there if none was lost?",
     "There are 7 kites + 3 more from her aunt = 10.", 10, "add(3@2,7@0)"),
    ("a place in a row", "On the sixth floor of a tower 8 lamps are dark. The tower has 6 floors with 30 lamps each. How many lamps shine?",
     "The tower has 6*30=180 lamps.\n180-8=172 of them shine.", 172, "sub(mul(30@3,6@2),8@1)"),
    ("a percentage, and a result that equals it", "Of 40 pupils 1/4 are ill. Of the well ones 50% sing, 30% paint and the others rest. How many rest?",
     "Well are 1-1/4=3/4 of them.\nThat is 40*3/4=30 pupils.\nThe others are 100-50-30=20%.\nSo 30*.20=6 pupils rest.", 6,
     "percent_of(mul(40@0,sub(1,0.25@1)),sub(sub(100,50@2),30@3))"),
    ("there and back", "The well is 2 miles away, and Ann walks to it 2 times a day. How many miles does she walk in a day?",
     "There and back are 2+2=4 miles.\nShe walks 2 times a day, so 2*4=8 miles.", 8, "mul(2@1,add(2@0,2@0))"),
    ("both parts of four dozen", "Four dozen plums fill four tarts. Each tart is cut into 6 slices. How many plums are in a slice?",
     "Four dozen are 4*12=48 plums.\nFour tarts have 4*6=24 slices.\nA slice has 48/24=2 plums.", 2,
     "div(mul(12@0,4@0),mul(4@1,6@2))"),
    ("two prices, by their goods", "Bo buys a $9 hat, a $4 pie and 2 cakes for $4 each. What does he pay?",
     "The hat and the pie cost $9+$4=$13.\nThe 2 cakes cost $4 each, so $4*2=$8.\nThat is $13+$8=$21.", 21,
     "add(4@1,9@0,mul(2@2,4@3))"),
    ("twice two things", "In a hall 3 men have 4 hats each, and 3 boys have 5 caps each. How many hats and caps are there?",
     "The boys have 3*5=15 caps.\nThe men have 3*4=12 hats.\nThat makes 15+12=27.", 27, "add(mul(3@0,4@1),mul(3@2,5@3))"),
]

SENSELESS = [
    ("a percentage times a percentage", "Lea saved 50% of her wage. It grew by $300, and now she saves only 20%, as much as before. What was it?",
     "Let it be found: 50*20=1000.", 1000),
    ("a number with itself", "A clerk works 3 hours and files 20 sheets an hour. How many sheets are 9 of them on some days?", "3*3=9", 9),
    ("a square root", "A cloth of 9 feet by 16 feet is cut anew into a square. How long is its side?",
     "It has 9*16=144 square feet.\nA side has 144/12=12 feet.", 12),
    ("a number that no word calls for", "A pole is 30 feet high and a mast 24 feet. By how many points is the pole higher, doubled?",
     "By the rule it is 5*10=50 points.", 50),
    ("unlike things in a sum, or money times money", "A pen costs $3 and a bag $8. What do so many bags cost as Ann has cousins?",
     "That is 3*8=$24.", 24),
    ("unlike things in a sum, or money times money", "A toad ate 4 flies on Monday, and 3 more on each day after. How many flies did it eat in the 7 days up to Sunday, when it ate no more than on Tuesday?",
     "On Tuesday it ate 4+3=7 flies.\nOn Wednesday it ate 7+3=10 flies.\nWith 7 flies that is 10+7=17 flies.", 17),
    ("a number used in place of another", "Mia and her 3 friends take a bag each. A bag holds 6 nuts. 4 nuts are bad. How many are good?",
     "They have 4*6=24 nuts.\nGood are 24-4=20.", 20),
]

UNSURE = [
    ("a number used more often than it is stated", "Al feeds 4 cows. Each cow eats 4 buckets a day, and a goat as many as all the cows with a bucket for each leg of one. How many buckets are that?",
     "The cows eat 4*4=16 buckets.\nThe goat eats 16+4=20 buckets.\nThat is 20+16=36.", 36),
    ("an equal number that is not used", "Of 9 boats 3 leak, and 3 oars are gone. How many boats are dry?", "9 boats - 3 that leak = 6", 6),
    ("a place in a row or a time of day", "A tram leaves at 7:15 and Ann boards the next one 20 minutes later. At how many minutes past seven is that?",
     "That is at 15+20=35 minutes.", 35),
    ("a part or a percentage read as a number", "A shop takes 10% off a hat of $50. How many dollars is that?", "That is 50/10=5 dollars.", 5),
    ("a number that no word calls for", "Bea owns 90 stamps and half of them are in her book, 20% are torn. How many are in the book, and how many letters has her name with them?",
     "In the book are 90/2=45 stamps.\nHer name has 3 letters, so 45+3=48.", 48),
    ("a number that may be common knowledge", "A choir of 12 singers pays $45 a month for a room. What is that in a year?", "45*12=540", 540),
    ("a number that may be common knowledge", "A tram with 60 seats drives 3 hours. How many minutes is that?", "3*60=180 minutes", 180),
    ("a number that may be common knowledge", "Al has 2 cats and 5 dogs. Each pet eats 3 cans a day. How many cans do they eat in a week?",
     "2+5=7\n7*3=21\n21*7=147", 147),
    ("a part of a number beside an equal number for the other part", "Two cooks have 2 dozen forks, and 5 are dirty. How many are clean?", "2*12-5=19", 19),
    ("a part of a number beside an equal number for the other part", "Of 90 plums a third are eaten by 2 boys at home, and the rest is sold. How many are sold?", "90*2/3=60", 60),
    ("an equal number that is not used", "The 12 geese of a farm laid 36 eggs. What do they bring in at $4 a dozen?",
     "36/12=3 times\n3*4=12", 12),
    ("a number that no word calls for", "A bus takes 4 men and 3 boys each day, at $2 a ticket. How much is that a day?", "7*2=14", 14),
]
SURE = [
    ("all three again", "Kim has 3 hens that lay 5 eggs each. How many eggs do all three lay?", "3*5=15 eggs", 15),
    ("what is added to comes of it", "Bo has 20 pins. Ida has 15 pins more than Bo. How many pins have both?", "Ida has 20+15=35 pins.\nBoth have 35+20=55 pins.", 55),
    ("twice is not two brothers", "Jo and her two brothers sing. Jo sings 8 songs in May and twice as many in June. How many songs are that?",
     "In June she sings 2*8=16 songs.\nThat makes 16+8=24.", 24),
    ("singers who are spoken of", "A choir of 12 singers pays $45 a head each month of this year. How much is that?",
     "12 singers pay 45*12=540 dollars.", 540),
    ("both parts of a number", "Jo has 2 dozen forks, and 5 are dirty. How many are clean?", "2*12-5=19", 19),
    ("twice a third", "Al has 30 pins, Bo a third of those, and Ed twice as many as Bo. How many has Ed?", "30/3=10\n10*2=20", 20),
    ("minutes of an hour", "A lamp burns 3 hours. How many minutes is that?", "3*60=180 minutes", 180),
]
# fmt: on


def told(question: str, solution: str, gold: int) -> str:
    found = find_target(question, solution, Fraction(gold))
    assert not isinstance(found, Refused), found
    told: dict[int, str] = {}
    for node in walk(target := shortest(found.target)):
        args = [told[id(arg)] for arg in node.args]
        place = "" if node.mention is None else f"@{node.mention}"
        ordered = sorted(args) if node.op in ("add", "mul") else args
        told[id(node)] = f"{spell(node.value)}{place}" if node.op == "leaf" else f"{node.op}({','.join(ordered)})"
    return told[id(target)]


def doubted(question: str, solution: str, gold: int) -> str:
    found = find_target(question, solution, Fraction(gold))
    assert not isinstance(found, Refused), found
    return found.doubt


@pytest.mark.parametrize(
    ("question", "solution", "gold", "wiring"), [case[1:] for case in WIRED], ids=[case[0] for case in WIRED]
)
def test_words_say_which_of_equal_numbers_is_meant(question: str, solution: str, gold: int, wiring: str) -> None:
    assert told(question, solution, gold) == wiring


def test_what_is_left_of_a_fraction_is_taken_off_once() -> None:
    question = "Al ate 1/2 of a pie and Bo ate 1/4 of it. How much is left?"
    found = find_target(question, "1-1/2=1/2\n1/2-1/4=1/4", Fraction(1, 4))
    assert not isinstance(found, Refused)
    assert (found.doubt, [node.op for node in walk(found.target) if node.args]) == ("", ["sub", "sub"])


@pytest.mark.parametrize("solution", ["45/50=90%", "45/50*100=90%"])
def test_a_quotient_that_is_stated_in_percent_is_a_hundredfold(solution: str) -> None:
    question = "Amy got 45 of 50 points. What is that in percent?"
    assert told(question, solution, 90) == "mul(100,div(45@0,50@1))"


def test_a_fraction_that_was_computed_is_that_result_and_not_two_numbers_of_the_question() -> None:
    question = (
        "A jug of 2 cups is poured into 12 cans by 1 cook. 3 cans fill 8 pans on 2 shelves. How many are half full?"
    )
    solution = "A can is 2/12=1/6 of it.\nSo 3 are 1/6*3=1/2 of the pans.\nThat is 1/2*8=4 pans."
    found = find_target(question, solution, Fraction(4))
    assert not isinstance(found, Refused)
    assert next(node.value for node in walk(found.target) if node.args) == Fraction(1, 6)


@pytest.mark.parametrize(("question", "solution", "gold"), [case[1:] for case in SURE], ids=[case[0] for case in SURE])
def test_what_can_be_no_other_number_is_not_doubted(question: str, solution: str, gold: int) -> None:
    assert doubted(question, solution, gold) == ""


@pytest.mark.parametrize(("reason", "question", "solution", "gold"), [*SENSELESS, *UNSURE])
def test_a_coincidence_is_no_computation(reason: str, question: str, solution: str, gold: int) -> None:
    assert doubted(question, solution, gold) == reason


def test_equal_numbers_that_no_word_tells_apart_are_marked() -> None:
    question = "Tim owns 5 red pens, 8 pots, 5 blue pens and 2 pans. What is left?"
    assert doubted(question, "8-5=3", 3) == UNDECIDED
    assert doubted(question, "8 pots - 5 red pens = 3", 3) == "an equal number that is not used"
    assert told(question, "8 pots - 5 red pens = 3", 3) == "sub(8@1,5@0)"


def use(place: int, *candidates: Origin, op: str = "mul") -> Use:
    return Use(place, place, Fraction(2), op, candidates, candidates[0])


FIRST, SECOND = Origin(-0.5, mention=0), Origin(-0.4, mention=1)


def test_a_number_that_is_stated_twice_is_used_twice() -> None:
    uses = [use(1, FIRST, SECOND), use(2, FIRST, SECOND)]
    assert ways(uses, uses)[0].chosen == (FIRST, SECOND)


def test_words_count_more_than_order() -> None:
    late = Origin(0.4, mention=0)
    uses = [use(1, late, SECOND), use(2, FIRST, Origin(0.5, mention=1))]
    assert [candidate.mention for candidate in ways(uses, uses)[0].chosen] == [1, 0]


def test_an_earlier_result_that_is_used_is_not_left_over() -> None:
    result = Origin(-0.3, result=0)
    uses = [use(1, FIRST), use(2, FIRST, result)]
    assert ways(uses, uses)[0].chosen == (FIRST, result)


def test_only_numbers_of_several_places_are_chosen() -> None:
    assert list(ambiguous([use(1, FIRST)])) == []
    assert list(ambiguous([use(1, FIRST), use(2, FIRST, SECOND)])) == [[use(1, FIRST), use(2, FIRST, SECOND)]]
