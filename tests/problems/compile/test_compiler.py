"""Solutions written by hand, with every trick of the trade, compile to the traces they mean; bad rows are refused."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlx_trace.errors import UserError
from mlx_trace.language.knowledge import CONSTANTS
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import Solved, solve
from mlx_trace.language.steps import AddEntity, Compute, Consume, Init, Percent, Query, Step
from mlx_trace.language.syntax import Trace, parse_document, render
from mlx_trace.problems.compile.compiler import MOST_CHARACTERS, Compiled, Refused, compile_file, compile_row
from mlx_trace.problems.compile.names import RESERVED
from mlx_trace.problems.skeleton import shape


@dataclass(frozen=True)
class Case:
    """A row, the shape of the trace it means, and the values it inits, in order of size."""

    name: str
    question: str
    solution: str
    gold: str
    shape: str
    values: str


def row(question: Any, solution: str, gold: str) -> dict[str, Any]:
    return {"question": question, "answer": f"{solution}\n#### {gold}"}


def compiled(question: str, solution: str, gold: str) -> Compiled:
    found = compile_row(row(question, solution, gold), "rows:1")
    assert isinstance(found, Compiled), found
    return found


def refusal(question: Any, solution: str, gold: str) -> str:
    found = compile_row(row(question, solution, gold), "rows:1")
    assert isinstance(found, Refused), found
    return found.reason


def trace_of(found: Compiled) -> Trace:
    trace = parse_document(found.problem.trace or "")
    assert isinstance(trace, Trace)
    return trace


def steps_of(found: Compiled) -> tuple[Step, ...]:
    (part,) = trace_of(found).parts
    return tuple(part.steps)


def values_of(found: Compiled) -> str:
    """What the trace takes from the question or from common knowledge, smallest first."""
    steps = steps_of(found)
    values = [step.value for step in steps if isinstance(step, Init)]
    return " ".join(map(spell, sorted(values)))


def names_in(step: Step) -> list[str]:
    """The variables a step reads."""
    match step:
        case Compute(args=args):
            return [arg for arg in args if isinstance(arg, str)]
        case Percent(base=base, rate=rate):
            return [base, rate]
        case Consume(entity=entity) | AddEntity(entity=entity):
            return [entity]
        case Query(var=var):
            return [var]
    return []


def check(found: Compiled) -> None:
    """Every trace: canonical, solves to its gold, names its numbers apart, inits one just before it is used."""
    problem, trace = found.problem, trace_of(found)
    assert problem.trace == render(trace)
    outcome = solve(trace)
    assert isinstance(outcome, Solved)
    assert outcome.answer == problem.expected
    assert trace.parts[0].expert == found.expert
    steps = steps_of(found)
    inits = [step.var for step in steps if isinstance(step, Init)]
    assert len(set(inits)) == len(inits)
    assert not any(RESERVED.fullmatch(name) for name in inits)
    query = steps[-1]
    assert isinstance(query, Query)
    assert query.var not in inits or found.expert == "entity_track"  # there, events derive it
    waiting: list[str] = []
    for step in steps:
        if isinstance(step, Init):
            waiting.append(step.var)
        else:
            assert set(waiting) <= set(names_in(step)), f"{waiting} stand too early"
            waiting = []
    assert not waiting


# --- the hand-written table ------------------------------------------------------------------------------------

TAX = "A coat costs $45, and a tax of 20% is put on it. How much is the tax?"
DEARER = "A coat costs $45, and a tax of 20% is put on it. How much is it with the tax?"
CHEAPER = "A coat costs $45, and the price falls by 20%. How much is it now?"
OLGA = "Olga is 8 years younger than 6 times the age of Dan. They are 69 years old together. How old is"
OLGA_SOLVED = "Let o be the age of Olga and d the age of Dan.\no = 6d - 8\no + d = 69\n6d - 8 + d = 69\n7d = 77\nd = 11"

# fmt: off
CASES = [
    # how equations are written
    Case("annotated", "A bakery fills 6 trays with 15 buns each, and 70 of the buns go to a school. How many buns remain?",
         "The trays hold 6*15=<<6*15=90>>90 buns.\nThere remain 90-70=<<90-70=20>>20 buns.", "20",
         "mul(n,n) sub(0,n)", "6 15 70"),
    Case("the annotation restates its value", "Pia reads 18 pages a day for 5 days and 24 pages on the way home. How many pages is that?",
         "In five days that is 18*5 = <<90=90>>90 pages.\nWith the way home it is 90 + 24 = <<114=114>>114 pages.", "114",
         "mul(n,n) add(0,n)", "5 18 24"),
    Case("the annotation is a value alone", "A box holds 13 forks, and 8 forks lie about. How many forks do 3 boxes and the table hold?",
         "3*13=<<39>>39 and 39+8=<<47>>47", "47", "mul(n,n) add(0,n)", "3 8 13"),
    Case("spaces and currency in the annotation", "A fork costs $13 and a box $8. What do 3 forks in a box cost?",
         "The forks are 3 * $13 = $<< 3 * $13 = 39 >>39.\nThat makes 39 + 8 = $<<39 + 8 = $47>>47.", "47",
         "mul(n,n) add(0,n)", "3 8 13"),
    Case("prose alone", "A tank holds 84 liters and 49 liters flow out. The rest is shared by 7 pots. How much is in a pot?",
         "There are 84 - 49 = 35 liters left.\nA pot has 35 / 7 = 5 liters.", "5", "sub(n,n) div(0,n)", "7 49 84"),
    Case("prose and annotations mixed", "A tank holds 84 liters and 49 liters flow out. The rest is shared by 7 pots. How much is in a pot?",
         "There are 84 - 49 = 35 liters left.\nA pot has 35/7=<<35/7=5>>5 liters.", "5", "sub(n,n) div(0,n)", "7 49 84"),
    Case("questions and stars before the step", "A box holds 13 forks. How many forks do 3 boxes hold?",
         "How many forks do the boxes hold? ** They hold 3*13=<<3*13=39>>39.", "39", "mul(n,n)", "3 13"),
    Case("× and −", "A wall has 9 rows of 14 tiles, and 26 tiles are cracked. How many tiles are whole?",
         "There are 9 × 14 = 126 tiles.\n126 − 26 = 100 are whole.", "100", "mul(n,n) sub(0,n)", "9 14 26"),
    Case("÷", "96 chairs stand in 8 rows. Each row is made longer by 5 chairs. How many chairs are in a row?",
         "A row had 96 ÷ 8 = 12 chairs.\nNow it has 12 + 5 = 17 chairs.", "17", "div(n,n) add(0,n)", "5 8 96"),
    Case("dashes", "A rope of 60 meters is cut down by 25 meters, then by 14 meters, and the rest makes 3 swings. How long is a swing?",
         "60 – 25 = 35 meters\n35 — 14 = 21 meters\n21 ÷ 3 = 7 meters", "7", "sub(n,n) sub(0,n) div(1,n)", "3 14 25 60"),
    Case("½", "Half of the 30 lamps are red, and 4 of the red lamps are dark. How many red lamps are lit?",
         "Red lamps: ½ × 30 = 15\nLit: 15 − 4 = 11", "11", "mul(n,n) sub(0,n)", "0.5 4 30"),
    Case("x and X", "A crate has 4 layers of 9 pears, and 16 pears lie on a bench. How many pears are there with 13 crates?",
         "A crate has 4 x 9 = 36 pears.\nAll crates have 36 X 13 = 468 pears.\n468 + 16 = 484", "484",
         "mul(n,n,n) add(0,n)", "4 9 13 16"),
    Case("a bracket beside a number", "Omar sells 5 mugs at $4 each and a lamp for $31. How much money is that?",
         "The mugs bring 5(4) = 20 dollars.\nIn all 20+31=51 dollars.", "51", "mul(n,n) add(0,n)", "4 5 31"),
    Case("brackets", "From 47 plums 11 are set aside. The others fill 4 bowls for 3 children each. How many plums is that for a child?",
         "(47-11)/(4*3)=<<(47-11)/(4*3)=3>>3", "3", "sub(n,n) mul(n,n) div(0,1)", "3 4 11 47"),
    Case("square brackets", "From 47 plums 11 are set aside. The others fill 4 bowls. How many plums are in a bowl?",
         "[47 - 11] / 4 = 9", "9", "sub(n,n) div(0,n)", "4 11 47"),
    Case("mixed number", "A cook stirs for 2 1/2 hours on each of 8 days and rests for 6 hours. How many hours is that?",
         "2 1/2 * 8 = 20 hours\n20 + 6 = 26", "26", "mul(n,n) add(0,n)", "2.5 6 8"),
    Case("thousands", "A firm has $12,500, pays $3,200 for a van and $1,050 for fuel. How much is left?",
         "After the van it has 12,500-3,200=<<12500-3200=9300>>9,300 dollars.\n"
         "After the fuel it has $9,300 - $1,050 = $<<9300-1050=8250>>8,250.", "8,250",
         "sub(n,n) sub(0,n)", "1050 3200 12500"),
    Case("€", "A ticket is €14 and a snack is €6. What do 3 visitors with a ticket and a snack pay?",
         "One visitor pays €14 + €6 = €20.\nThe three pay 3 * €20 = €60.", "€60", "add(n,n) mul(0,n)", "3 6 14"),
    Case("units between", "Tom has 8 bags with 9 nuts each. He packs the nuts in 6 jars. How many nuts are in a jar?",
         "8 bags x 9 nuts/bag = 72 nuts\n72 nuts / 6 jars = 12 nuts per jar", "12", "mul(n,n) div(0,n)", "6 8 9"),
    Case("notes in brackets between", "A boat has 6 oars of 4 kilos and a bench of 7 kilos. What do they weigh?",
         "6 oars (of ash) * 4 kilos (an oar) = 24 kilos\n24 kilos + 7 kilos (the bench) = 31 kilos", "31",
         "mul(n,n) add(0,n)", "4 6 7"),
    Case("plus, minus, divided by", "Kim has 9 red pens, 14 blue pens and 8 green pens, and 7 pens are dry. The others fill boxes of 6. How many boxes?",
         "9 plus 14 = 23 pens\n23 plus 8 = 31 pens\n31 minus 7 = 24 pens\n24 divided by 6 = 4 boxes", "4",
         "add(n,n,n) sub(0,n) div(1,n)", "6 7 8 9 14"),
    Case("times, multiplied by, is", "A page has 11 lines of 9 words, and the cover has 5 words. How many words are in a book of 13 pages?",
         "11 times 9 is 99 words\n99 multiplied by 13 equals 1287 words\n1287 plus 5 is 1292", "1292",
         "mul(n,n,n) add(0,n)", "5 9 11 13"),
    Case("chained", "Eve buys 3 cups at $8 each and 2 plates at $11 each. How much is that?",
         "She pays 3*8+2*11 = 24+22 = 46 dollars.", "46", "mul(n,n) mul(n,n) add(0,1)", "2 3 8 11"),
    Case("chained to an annotation", "Eve buys 3 cups at $8 each and 2 plates at $11 each. How much is that?",
         "She pays 3*8+2*11 = 24+22 = <<24+22=46>>46 dollars.", "46", "mul(n,n) mul(n,n) add(0,1)", "2 3 8 11"),
    Case("running", "There are 2 floors with 3 rooms each and 17 desks in a room, and 5 desks in a cellar. How many desks are there?",
         "2*3=6*17=102+5=107 desks", "107", "mul(n,n,n) add(0,n)", "2 3 5 17"),
    Case("reversed", "A ladder has 15 rungs and each rung takes 6 nails. 8 nails are bent. How many nails are good?",
         "90 = 15*6\n82 = 90 - 8", "82", "mul(n,n) sub(0,n)", "6 8 15"),
    # which numbers are meant
    Case("dead ends are dropped", "Lea has 21 stamps, Max has 13 stamps and Tom has 6 stamps. How many stamps do Lea and Tom have?",
         "Lea and Max have 21+13=<<21+13=34>>34.\nLea has 21-13=<<21-13=8>>8 more than Max.\n"
         "Lea and Tom have 21+6=<<21+6=27>>27 stamps.", "27", "add(n,n)", "6 21"),
    Case("a result, and the question's number", "On 3 shelves are 4 jars each. Each jar costs $12, and the shelves cost $50. What is paid?",
         "There are 3*4=<<3*4=12>>12 jars.\nThey cost 12*12=$<<12*12=144>>144.\n144+50=<<144+50=194>>194", "194",
         "mul(n,n,n) add(0,n)", "3 4 12 50"),
    Case("a result and a number of another noun", "In 2 sheds stand 5 bikes each. A bike has 10 gears. 10 scooters stand outside. How many vehicles are there?",
         "Bikes: 2*5=<<2*5=10>>10 bikes\nVehicles: 10 bikes + 10 scooters = <<10+10=20>>20", "20", "mul(n,n) add(0,n)", "2 5 10"),
    Case("two equal numbers", "In a yard 5 boys have 5 pens each, and 3 pens lie on a bench. How many pens are there?",
         "The boys have 5*5=<<5*5=25>>25 pens.\nThere are 25+3=<<25+3=28>>28 pens.", "28", "mul(n,n) add(0,n)", "3 5 5"),
    Case("one number thrice", "Al has 3 pens. Bo has thrice as many pens as Al, and 3 pencils. How many things has Bo?",
         "3*3=<<3*3=9>>9 pens\n9 pens + 3 pencils = <<9+3=12>>12", "12", "mul(n,n) add(0,n)", "3 3 3"),
    Case("twice and a two", "Tom has 2 dogs. Bo has 9 cats and Tom has twice as many cats as Bo. How many animals has Tom?",
         "9*2=<<9*2=18>>18 cats\n18+2=<<18+2=20>>20 animals", "20", "mul(n,n) add(0,n)", "2 2 9"),
    Case("the gold stands in the question", "A box holds 12 forks. 3 boxes and 24 loose forks are shared by 5 cooks. How many forks has a cook?",
         "3*12=<<3*12=36>>36\n36+24=<<36+24=60>>60\n60/5=<<60/5=12>>12", "12", "mul(n,n) add(0,n) div(1,n)", "3 5 12 24"),
    Case("a result of the same value as the gold", "Ann has 4 bags of 6 figs and 5 loose figs, and 5 figs are bad. How many figs are good?",
         "4*6=<<4*6=24>>24\n24 + 5 loose figs = <<24+5=29>>29\n29-5=<<29-5=24>>24 are not bad", "24",
         "mul(n,n) add(0,n) sub(1,n)", "4 5 5 6"),
    Case("a conversion by the number just found", "A song lasts 4 minutes and is played 15 times. How many hours is that?",
         "4*15=<<4*15=60>>60 minutes\n60 minutes / 60 minutes per hour = <<60/60=1>>1 hour", "1", "mul(n,n) div(0,n)", "4 15 60"),
    # percent
    *(Case(f"a percentage as {text}", TAX, f"The tax is {text} dollars.", "9", "percent_of(n,n)", "20 45") for text in (
        "45*.2=<<45*.2=9>>9", "45*0.20=<<45*0.20=9>>9", "45*20/100=<<45*20/100=9>>9", "20/100*45=<<20/100*45=9>>9",
        "45*(20/100)=<<45*(20/100)=9>>9", "45*20%=<<45*20*.01=9>>9", "45*20*.01=<<45*20*.01=9>>9", "20% * 45 = 9",
        "20% of $45 = $9",
    )),
    *(Case(f"an increase as {text}", DEARER, text, "54", "percent_increase(n,n)", "20 45") for text in (
        "45*1.2=<<45*1.2=54>>54", "45*.2=<<45*.2=9>>9\n45+9=<<45+9=54>>54", "20% of 45 is 9\n9 + 45 = 54",
        "100+20=<<100+20=120>>120%\n45*120/100=<<45*120/100=54>>54", "45+45*.2=<<45+45*.2=54>>54",
        "45*(1+.2)=<<45*(1+.2)=54>>54", "120% of 45 = 54",
    )),
    *(Case(f"a cut as {text}", CHEAPER, text, "36", "percent_off(n,n)", "20 45") for text in (
        "45*.8=<<45*.8=36>>36", "45*.2=<<45*.2=9>>9\n45-9=<<45-9=36>>36", "45*(1-.2)=<<45*(1-.2)=36>>36",
        "100-20=<<100-20=80>>80%\n45*80/100=<<45*80/100=36>>36", "100% - 20% = 80%\n80% of 45 = 36",
        "45*80/100=<<45*80/100=36>>36", "100-20=80\n.80*45=36",
    )),
    Case("a percentage and more", "Of 50 kites 20% are torn, and 6 more have no tail. How many kites are spoiled?",
         "20% of 50 = 10 kites are torn.\nSpoiled are 10 + 6 = 16 kites.", "16", "percent_of(n,n) add(0,n)", "6 20 50"),
    Case("a percentage of a percentage", "Of 200 pupils 40% are girls, and 15% of the girls swim. How many girls swim?",
         "200*40/100=<<200*40/100=80>>80\n80*15/100=<<80*15/100=12>>12", "12", "percent_of(n,n) percent_of(0,n)", "15 40 200"),
    Case("percentages added", "A meal of $60 has a 15% tip and a 5% tax. What do tip and tax come to?",
         "15%+5%=20%\n60*.20=<<60*.2=12>>12", "12", "add(n,n) percent_of(n,0)", "5 15 60"),
    Case("what percentages leave", "30% of the 90 pupils walk, 20% cycle and the others ride. How many ride?",
         "100-30-20=<<100-30-20=50>>50%\n90*50/100=<<90*50/100=45>>45", "45",
         "sub(n,n) sub(0,n) percent_of(n,1)", "20 30 90 100"),
    Case("a percentage as the answer", "Of 85 seeds 17 sprout. What percentage of the seeds sprouts?",
         "17/85 x 100% = 20%", "20", "div(n,n) mul(0,n)", "17 85 100"),
    Case("a percentage as the answer, in two steps", "Of 40 doors 14 are open. What percent are open?",
         "14/40=<<14/40=.35>>.35\n.35*100=<<.35*100=35>>35%", "35%", "div(n,n) mul(0,n)", "14 40 100"),
    # words, fractions, constants
    Case("number words", "Seven hens lay nine eggs each, and thirty-one eggs are boiled. How many eggs are raw?",
         "7*9=<<7*9=63>>63\n63-31=<<63-31=32>>32", "32", "mul(n,n) sub(0,n)", "7 9 31"),
    Case("dozen as 12", "A farm has 3 dozen eggs, and 7 of them crack. How many eggs are whole?",
         "There are 3*12=<<3*12=36>>36 eggs.\nWhole are 36-7=<<36-7=29>>29 eggs.", "29", "mul(n,n) sub(0,n)", "3 7 12"),
    Case("dozen in the head", "A farm has 3 dozen eggs, and 7 of them crack. How many eggs are whole?",
         "Whole are 36-7=<<36-7=29>>29 eggs.", "29", "sub(n,n)", "7 36"),
    Case("half by two", "Ida has 26 shells and Bo has half as many. How many shells do the two have?",
         "Bo has 26/2=<<26/2=13>>13 shells.\nThe two have 26+13=<<26+13=39>>39 shells.", "39", "div(n,n) add(0,n)", "2 26"),
    Case("half as .5", "Ida has 26 shells and Bo has half as many. How many shells do the two have?",
         "26*.5=<<26*.5=13>>13\n26+13=<<26+13=39>>39", "39", "mul(n,n) add(0,n)", "0.5 26"),
    Case("half as 1/2", "Ida has 26 shells and Bo has half as many. How many shells do the two have?",
         "(1/2)*26=<<1/2*26=13>>13\n26+13=<<26+13=39>>39", "39", "mul(n,n) add(0,n)", "0.5 26"),
    Case("twice", "Ida has 26 shells and Bo has twice as many. How many shells do the two have?",
         "Bo has 26*2=<<26*2=52>>52 shells.\nThe two have 26+52=<<26+52=78>>78 shells.", "78", "mul(n,n) add(0,n)", "2 26"),
    Case("third", "A third of 48 goats are black. How many goats are not black?",
         "Black are 48/3=<<48/3=16>>16 goats.\nNot black are 48-16=<<48-16=32>>32 goats.", "32", "div(n,n) sub(n,0)", "3 48"),
    Case("two thirds are one number", "Two thirds of 45 boats have a sail, and 4 have a motor. How many boats have sail or motor?",
         "A sail is on 45*2/3=<<45*2/3=30>>30 boats.\n30+4=<<30+4=34>>34", "34", "mul(n,n) add(0,n)", "2/3 4 45"),
    Case("2/3 is one number", "Of 45 boats 2/3 have a sail. How many boats have none?",
         "A sail is on 2/3*45=<<2/3*45=30>>30 boats.\nNone is on 45-30=<<45-30=15>>15 boats.", "15", "mul(n,n) sub(n,0)", "2/3 45"),
    Case("complement", "One sixth of 42 cats sleep. How many cats are awake?",
         "Awake are 1 - 1/6 = 5/6 of them.\nThat is 42*5/6=<<42*5/6=35>>35 cats.", "35", "sub(n,n) mul(0,n)", "1/6 1 42"),
    Case("complement without spaces", "One sixth of 42 cats sleep. How many cats are awake?",
         "Awake are 1-1/6=5/6 of them.\nThat is 42*5/6=<<42*5/6=35>>35 cats.", "35", "sub(n,n) mul(0,n)", "1/6 1 42"),
    Case("complement annotated", "Of 51 cats 2/17 sleep. How many cats are awake?",
         "Awake are 1-2/17=<<1-2/17=15/17>>15/17.\nThat is 51*15/17=<<51*15/17=45>>45 cats.", "45",
         "sub(n,n) mul(0,n)", "2/17 1 51"),
    Case("ratio", "Tea and milk are mixed in the ratio 7:4. There are 99 cups of the mix. How many cups are milk?",
         "7+4=<<7+4=11>>11 parts\n99/11=<<99/11=9>>9\n9*4=<<9*4=36>>36", "36", "add(n,n) div(n,0) mul(1,n)", "4 7 99"),
    Case("60 minutes", "A film runs for 3 hours with a break of 15 minutes. How many minutes is that?",
         "The film runs 3*60=<<3*60=180>>180 minutes.\nThat makes 180+15=<<180+15=195>>195 minutes.", "195",
         "mul(n,n) add(0,n)", "3 15 60"),
    Case("7 days", "Gus walks 6 miles every day, and 5 miles more once. How many miles does he walk in 9 weeks?",
         "9*7=<<9*7=63>>63 days\n63*6=<<63*6=378>>378 miles\n378+5=<<378+5=383>>383", "383", "mul(n,n,n) add(0,n)", "5 6 7 9"),
    Case("12 months", "A flat costs $830 a month and $90 once. What does it cost for 3 years?",
         "A year is $830*12=$<<830*12=9960>>9960.\nThe years are 9960*3=<<9960*3=29880>>29,880 dollars.\n"
         "29,880+90=<<29880+90=29970>>29,970", "29,970", "mul(n,n,n) add(0,n)", "3 12 90 830"),
    Case("24 hours", "A pump fills 11 pails an hour and has filled 8 pails. How many pails are full in 2 days?",
         "2 days are 24*2=<<24*2=48>>48 hours.\nThat is 48*11=<<48*11=528>>528 pails.\n528+8=<<528+8=536>>536", "536",
         "mul(n,n,n) add(0,n)", "2 8 11 24"),
    Case("52 weeks", "Ulf saves $15 a week and has $40. How much has he in 2 years?",
         "There are 52*2=<<52*2=104>>104 weeks.\n104*15=<<104*15=1560>>1560\n1560+40=<<1560+40=1600>>1600", "1600",
         "mul(n,n,n) add(0,n)", "2 15 40 52"),
    Case("dollars and cents", "Ann has 5 dollars and 35 cents and a bill of 2 dollars. How many cents has she after paying?",
         "5*100=<<5*100=500>>500\n500+35=<<500+35=535>>535\n2*100=<<2*100=200>>200\n535-200=<<535-200=335>>335", "335",
         "mul(n,n) add(0,n) mul(n,n) sub(1,2)", "2 5 35 100"),
    Case("dimes and nickels", "Zoe has 8 dimes and 6 nickels. How many dollars is that?",
         "The dimes are 8*.1=<<8*.1=0.8>>0.8 dollars.\nThe nickels are 6*.05=<<6*.05=0.3>>0.3 dollars.\n"
         "That is .8+.3=<<0.8+0.3=1.1>>1.1 dollars.", "1.1",
         "mul(n,n) mul(n,n) add(0,1)", "0.05 0.1 6 8"),
    # unknowns
    Case("one unknown", "Two times a number and 9 more are 61. What is the number?",
         "Let x be the number.\n2x + 9 = 61\n2x = 52\nx = 26", "26", "sub(n,n) div(0,n)", "2 9 61"),
    Case("an unknown with annotations", "Twice the sum of a number and 3 is 40. What is the number?",
         "2(x+3)=40\nx+3=40/2=<<40/2=20>>20\nx=20-3=<<20-3=17>>17", "17", "div(n,n) sub(0,n)", "2 3 40"),
    Case("substitution", f"{OLGA} Dan?", OLGA_SOLVED, "11", "add(n,n) add(n,n) div(0,1)", "1 6 8 69"),
    Case("substitution, the other one", f"{OLGA} Olga?", f"{OLGA_SOLVED}\no = 58", "58",
         "add(n,n) add(n,n) div(0,1) mul(2,n) sub(3,n)", "1 6 8 69"),
    Case("an unknown on both sides", "5 bags and 4 nuts hold as many nuts as 3 bags and 30 nuts. How many nuts are in a bag?",
         "5x + 4 = 3x + 30\n2x = 26\nx = 13", "13", "sub(n,n) sub(n,n) div(0,1)", "3 4 5 30"),
    Case("an unknown less a percentage", "When 20% of the seats are sold, 56 seats are free. How many seats are there?",
         "x - 20%x = 56\nx = 70", "70", "sub(n,n) div(0,n) div(n,1)", "20 56 100"),
    Case("a percentage of an unknown", "15% of the pupils are 18 pupils. How many pupils are there?",
         ".15x = 18\nx = 120", "120", "div(n,n) div(n,0)", "15 18 100"),
    # what the solution leaves out
    Case("all in words", "Bea has 34 red beads and 45 blue beads. How many beads does she have?",
         "She has red beads and blue beads, 79 in total.", "79", "add(n,n)", "34 45"),
    Case("the last step in words", "Bea has 3 bags of 34 red beads and 2 bags of 45 blue beads. How many beads does she have?",
         "Red are 3*34=<<3*34=102>>102.\nBlue are 2*45=<<2*45=90>>90.\nShe has 192 in total.", "192",
         "mul(n,n) mul(n,n) add(0,1)", "2 3 34 45"),
    Case("rounded in the text, exact in the graph", "A cord of 7 feet is cut into 3 equal pieces. How long are 9 such pieces?",
         "A piece is 7/3=<<7/3=2.33>>2.33 feet.\nNine are 2.33*9=<<2.33*9=21>>21 feet.", "21", "div(n,n) mul(0,n)", "3 7 9"),
    Case("a third, rounded", "One cake is cut for 3 guests. How much cake is eaten at 9 such parties by one guest?",
         "1/3 = 0.33 of a cake\n0.33*9=<<0.33*9=3>>3", "3", "div(n,n) mul(0,n)", "1 3 9"),
    Case("// that leaves nothing", "A van takes 12 crates. How many vans do 96 crates fill?",
         "96//12=<<96//12=8>>8 vans", "8", "div(n,n)", "12 96"),
    Case("sums are joined", "A bag has 24 figs, 39 dates, 13 nuts and 17 plums, and 5 bowls are empty. How much fruit is in 2 bags?",
         "24+39=<<24+39=63>>63\n63+13=<<63+13=76>>76\n76+17=<<76+17=93>>93\n93*2=<<93*2=186>>186", "186",
         "add(n,n,n,n) mul(0,n)", "2 13 17 24 39"),
    Case("products are joined", "A block has 4 floors, a floor 6 flats, a flat 5 doors; 11 doors are open. How many doors are shut?",
         "4*6=<<4*6=24>>24\n24*5=<<24*5=120>>120\n120-11=<<120-11=109>>109", "109", "mul(n,n,n) sub(0,n)", "4 5 6 11"),
    Case("a sum used twice is not joined", "A bag has 24 figs and 39 dates. With as much fruit again and 13 nuts, how much is it?",
         "24+39=<<24+39=63>>63\n63+63=<<63+63=126>>126\n126+13=<<126+13=139>>139", "139", "add(n,n) add(0,0,n)", "13 24 39"),
    Case("a contradiction beside a good route", "A box holds 13 forks. How many forks do 3 boxes hold?",
         "3*13=<<3*13=40>>40\n3*13=<<3*13=39>>39", "39", "mul(n,n)", "3 13"),
    Case("a division by zero beside a good route", "A box holds 13 forks. How many forks do 3 boxes hold?",
         "13/0=<<13/0=0>>0\n3*13=<<3*13=39>>39", "39", "mul(n,n)", "3 13"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_solution_compiles_to_the_trace_it_means(case: Case) -> None:
    found = compiled(case.question, case.solution, case.gold)
    assert (shape(trace_of(found)), values_of(found)) == (case.shape, case.values)
    assert found.grounded
    check(found)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_question_stays_verbatim_and_no_expert_is_expected(case: Case) -> None:
    problem = compiled(case.question, case.solution, case.gold).problem
    assert (problem.question, problem.expert, problem.source) == (case.question, None, "gsm8k/rows:1")


# --- whole traces ----------------------------------------------------------------------------------------------

# fmt: off
WHOLE = [
    ("Nell bakes 16 muffins and 9 cookies. Each piece costs $2. How much does she get?",
     "16+9=<<16+9=25>>25\n25*2=<<25*2=50>>50", "50", """
expert: arithmetic
trace:
- {op: init, var: muffins, value: 16}
- {op: init, var: cookies, value: 9}
- {op: compute, compute_op: add, args: [muffins, cookies], var: step1}
- {op: init, var: price_per_piece, value: 2}
- {op: compute, compute_op: mul, args: [step1, price_per_piece], var: result}
- {op: query, var: result}"""),
    ("A farm has 12 cows, 30 hens and 18 goats. A fence takes 4 planks for each animal. How many planks?",
     "12+30=<<12+30=42>>42\n42+18=<<42+18=60>>60\n60*4=<<60*4=240>>240", "240", """
expert: arithmetic
trace:
- {op: init, var: cows, value: 12}
- {op: init, var: hens, value: 30}
- {op: init, var: goats, value: 18}
- {op: compute, compute_op: add, args: [cows, hens, goats], var: step1}
- {op: init, var: planks_per_animal, value: 4}
- {op: compute, compute_op: mul, args: [step1, planks_per_animal], var: result}
- {op: query, var: result}"""),
    ("A film runs for 3 hours and 15 minutes. How many minutes is that?",
     "3*60=<<3*60=180>>180\n180+15=<<180+15=195>>195", "195", """
expert: arithmetic
trace:
- {op: init, var: hours, value: 3}
- {op: init, var: minutes_per_hour, value: 60}
- {op: compute, compute_op: mul, args: [hours, minutes_per_hour], var: step1}
- {op: init, var: minutes, value: 15}
- {op: compute, compute_op: add, args: [step1, minutes], var: result}
- {op: query, var: result}"""),
    ("Gus walks 6 miles a day. How many miles does he walk in 9 weeks?",
     "9*7=<<9*7=63>>63 days\n63*6=<<63*6=378>>378 miles", "378", """
expert: arithmetic
trace:
- {op: init, var: weeks, value: 9}
- {op: init, var: days_per_week, value: 7}
- {op: init, var: miles_per_day, value: 6}
- {op: compute, compute_op: mul, args: [weeks, days_per_week, miles_per_day], var: result}
- {op: query, var: result}"""),
    (TAX, "45*20/100=<<45*20/100=9>>9", "9", """
expert: percentage
trace:
- {op: init, var: coat_price, value: 45}
- {op: init, var: tax_percent, value: 20}
- {op: percent_of, base: coat_price, rate: tax_percent, var: result}
- {op: query, var: result}"""),
    ("A tent of $80 is sold with a 25% discount. What is paid for the tent?",
     "80*.25=<<80*.25=20>>20\n80-20=<<80-20=60>>60", "60", """
expert: percentage
trace:
- {op: init, var: tent_price, value: 80}
- {op: init, var: discount_percent, value: 25}
- {op: percent_off, base: tent_price, rate: discount_percent, var: result}
- {op: query, var: result}"""),
    ("A train runs at 80 miles per hour for 3 hours. How far does it get?",
     "80*3=<<80*3=240>>240", "240", """
expert: rate_equation
trace:
- {op: init, var: miles_per_hour, value: 80}
- {op: init, var: hours, value: 3}
- {op: compute, compute_op: mul, args: [miles_per_hour, hours], var: result}
- {op: query, var: result}"""),
    ("Rosa has 52 marbles. She gives away 17 marbles and finds 8 marbles. How many marbles does she have?",
     "52-17=<<52-17=35>>35\n35+8=<<35+8=43>>43", "43", """
expert: entity_track
trace:
- {op: init, var: marbles, value: 52}
- {op: consume, entity: marbles, amount: 17}
- {op: add_entity, entity: marbles, amount: 8}
- {op: query, var: marbles}"""),
]
# fmt: on


@pytest.mark.parametrize(("question", "solution", "gold", "text"), WHOLE)
def test_clear_cases_word_for_word(question: str, solution: str, gold: str, text: str) -> None:
    assert compiled(question, solution, gold).problem.trace == text.strip()


# --- what does not compile -------------------------------------------------------------------------------------

FORKS = "A box holds 13 forks. How many forks do 3 boxes hold?"
GOOD = "3*13=<<3*13=39>>39"


@pytest.mark.parametrize("question", [None, "", "  \n\t", 13, ["A box"], {"text": "A box"}])
def test_without_a_question_there_is_no_problem(question: Any) -> None:
    assert refusal(question, GOOD, "39") == "no question"
    assert compile_row({"answer": "#### 39"}, "rows:1") == Refused("no question")


@pytest.mark.parametrize("answer", [GOOD, 39, 39.5, [39], {"gold": 39}, True, "### 39", "#### 39", " \n#### 39"])
def test_an_answer_alone_is_no_worked_solution(answer: Any) -> None:
    assert compile_row({"question": FORKS, "answer": answer}, "rows:1") == Refused("no worked solution")


@pytest.mark.parametrize(
    ("question", "solution", "gold", "shape_of_it", "values"),
    [
        ("It was 5 degrees and fell by 10.", "5-10=<<5-10=-5>>-5", "-5", "sub(n,n)", "5 10"),
        ("It was -5 degrees and fell by 10.", "It is -5-10=<<-5-10=-15>>-15.", "-15", "sub(n,n)", "-5 10"),
        ("It was −5 degrees and rose by 3.", "It is now −5 + 3 = −2.", "−2", "add(n,n)", "-5 3"),
        ("Ann had $20 and spent $50.", "She has $20 - $50 = -$<<20-50=-30>>30.", "-$30", "sub(n,n)", "20 50"),
        ("What is the mean of -4 and -6?", "(-4 + -6)/2=-10/2=-5", "-5", "add(n,n) div(0,n)", "-6 -4 2"),
        ("He earns 20 and pays 80 a month. After 3 months?", "20-80=<<20-80=-60>>-60\n3*(-60)=<<3*(-60)=-180>>-180", "-180",
         "sub(n,n) mul(0,n)", "3 20 80"),
        ("It is 6 degrees below zero and gets 4 degrees colder.", "-6-4=<<-6-4=-10>>-10", "-10", "sub(n,n)", "-6 4"),
        ("Ann owes $20 to each of 3 friends.", "3*-20=<<3*-20=-60>>-60", "-60", "sub(n,n) mul(0,n)", "0 3 20"),
    ],
)  # fmt: skip
def test_negative_golds_compile(question: str, solution: str, gold: str, shape_of_it: str, values: str) -> None:
    found = compiled(question, solution, gold)
    assert found.grounded
    assert (shape(trace_of(found)), values_of(found)) == (shape_of_it, values)
    assert found.problem.answer == gold.replace("−", "-").replace("$", "")


@pytest.mark.parametrize(
    ("solution", "gold", "shape_of_it"),
    [
        ("71 + -3 = <<71+-3=68>>68", "68", "sub(n,n)"),
        ("-3 + 71 = <<-3+71=68>>68", "68", "sub(n,n)"),
        ("71 - -3 = <<71--3=74>>74", "74", "add(n,n)"),
        ("0 - 3 = <<0-3=-3>>-3. 71 + -3 = <<71+-3=68>>68", "68", "sub(n,n)"),
        ("-71 / -3 = <<-71/-3=71/3>>71/3", "71/3", "div(n,n)"),
        ("-3 + -71 = <<-3+-71=-74>>-74", "-74", "sub(n,n) sub(0,n)"),
    ],
)
def test_a_loss_that_is_added_is_taken_away(solution: str, gold: str, shape_of_it: str) -> None:
    found = compiled("Ben has 71 points and loses 3 of them. What is his score?", solution, gold)
    assert found.grounded
    assert shape(trace_of(found)) == shape_of_it


@pytest.mark.parametrize(
    ("question", "solution", "gold", "values"),
    [
        ("A house costs $400 000 and a car $20 000. Together?", "400 000 + 20 000 = 420 000", "420 000", "20000 400000"),
        ("A house costs $280k. With a fee of 3%?", "$280000*3/100=<<280000*3/100=8400>>8400", "$8.4k", "3 280000"),
        ("There are two and half dozen cakes for 3 tables. How many on each?", "2.5*12=30\n30/3=<<30/3=10>>10", "10 (cakes)", "2.5 3 12"),
        ("How many cents are 4 quarters and a dime?", "4*25=100\n100+10=<<100+10=110>>110", "110", "4 10 25"),
        ("How many legs have 3 spiders and 2 ants?", "3*8=24\n2*6=12\n24+12=36", "36", "2 3 6 8"),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them_are_grounded(question: str, solution: str, gold: str, values: str) -> None:
    found = compiled(question, solution, gold)
    assert (found.grounded, values_of(found)) == (True, values)


def test_an_answer_in_the_unit_that_is_asked_for_is_no_gold() -> None:
    assert refusal("Ann has 144 eggs. How many dozen?", "144/12=12", "12 dozen") == "the gold is not a number"


def test_a_row_without_an_answer_says_so() -> None:
    assert compile_row({"question": FORKS, "answer": None}, "rows:1") == Refused("no answer")
    assert compile_row({"question": FORKS, "answer": ""}, "rows:1") == Refused("no answer")
    assert compile_row({"question": FORKS}, "rows:1") == Refused("no answer")


@pytest.mark.parametrize(
    "gold", ["about 5", "", "  ", "thirty-nine or so many", "39 or 40", "1e", "1/0", "nan", "inf", "3,9"]
)
def test_a_gold_that_is_no_number(gold: str) -> None:
    assert refusal(FORKS, GOOD, gold) == "the gold is not a number"


@pytest.mark.parametrize("gold", ["39", "39.0", " 39 ", "$39", "39 forks", "39.", "+39"])
def test_a_gold_is_read_whole_whatever_stands_around_it(gold: str) -> None:
    assert compiled(FORKS, GOOD, gold).problem.answer == "39"


def test_the_last_mark_is_before_the_gold() -> None:
    assert compiled(FORKS, f"#### 7\n{GOOD}", "39").problem.answer == "39"


@pytest.mark.parametrize("gold", ["40", "999", "-39", "39.01", "1000000007"])
def test_a_gold_that_nothing_computes(gold: str) -> None:
    assert refusal(FORKS, GOOD, gold) == "the gold is not among the results"


@pytest.mark.parametrize("solution", ["It is 40.", "<<40>>40", "<<40=40>>40", "40=<<40=40>>40", "40+0=<<40+0=40>>40",
                                      "40*1=<<40*1=40>>40", "40/1=40", "0+40=40", "40-0=<<40-0=40>>40"])  # fmt: skip
def test_an_answer_that_is_only_written_down_is_no_computation(solution: str) -> None:
    assert refusal("Ann has 40 cats. How many cats has Ann?", solution, "40") == "nothing computed"
    assert refusal(FORKS, solution, "40") == "nothing computed"


@pytest.mark.parametrize("solution", ["It is 40.", "<<40>>40", "40=<<40=40>>40", "40+0=<<40+0=40>>40"])
def test_no_identity_is_made_up_to_reach_a_number_of_the_question(solution: str) -> None:
    """40 cats times 1 dog is 40, and means nothing."""
    assert refusal("Ann has 40 cats and 1 dog. How many cats has Ann?", solution, "40") == "nothing computed"


def test_contradictory_annotations() -> None:
    assert refusal(FORKS, "3*13=<<3*13=40>>40", "40") == "an equation that does not hold"
    assert refusal(FORKS, "3*13=<<3*13=40>>40\n40-1=<<40-1=38>>38", "38") == "an equation that does not hold"


@pytest.mark.parametrize("gold", ["16", "10"])
def test_a_contradiction_is_not_mended_by_a_guess(gold: str) -> None:
    """3 + 13 is 16, and 13 - 3 is 10, but the solution multiplies."""
    assert refusal(FORKS, f"3*13=<<3*13={gold}>>{gold}", gold) == "an equation that does not hold"


def test_division_by_zero_as_the_only_route() -> None:
    assert refusal(FORKS, "13/0=<<13/0=5>>5", "5") == "division by zero"
    assert refusal(FORKS, "13/(3-3)=5", "5") == "division by zero"


def test_a_remainder_that_is_dropped_is_not_computed() -> None:
    assert isinstance(compile_row(row("A van takes 12 crates. How many vans do 100 crates fill?", "100//12=<<100//12=8>>8", "8"), ""), Refused)  # fmt: skip
    assert isinstance(compile_row(row("A bus takes 24 people. How many buses take 100?", "100/24=4.17\nThey need 5.", "5"), ""), Refused)  # fmt: skip


def test_a_number_from_nowhere_is_kept_but_not_grounded() -> None:
    found = compiled(FORKS, "3*13=<<3*13=39>>39\n39*83=<<39*83=3237>>3237", "3237")
    assert not found.grounded
    assert values_of(found) == "3 13 83"
    check(found)


def test_a_trace_that_is_too_long_or_too_large_is_refused() -> None:
    numbers = list(range(101, 171))
    question = f"Bags hold {', '.join(map(str, numbers))} pins. How many pins?"
    long = "*".join(str(n) for n in numbers[:12])
    product = 1
    for number in numbers[:20]:
        product *= number
    assert (
        refusal(question, f"{'+'.join(map(str, numbers))}={sum(numbers)}", str(sum(numbers)))
        == "the trace does not run"
    )
    assert refusal(question, f"{long}=1", str(product))


# --- bad characters, great lengths -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise", ["\x00", "\x07\x1b[31m", "\u200b\u202e", "🐈🍴", "\ufeff", "é ü ß 猫", "\u2028", "٣ ٤", "\x85"]
)
def test_odd_characters_change_nothing(noise: str) -> None:
    found = compiled(f"{noise} {FORKS} {noise}", f"{noise}\n{GOOD}\n{noise}", "39")
    assert (shape(trace_of(found)), values_of(found)) == ("mul(n,n)", "3 13")
    assert (found.problem.trace or "").isascii()
    check(found)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Break off, and fail, what takes more processor time than this."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    except TimeoutError:
        pytest.fail(f"takes more than {seconds} s", pytrace=False)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_half_a_surrogate_pair() -> None:
    assert refusal(f"{FORKS}\ud83d", GOOD, "39") == "broken characters"
    check(compiled(FORKS, f"\udc4d {GOOD} \ud83d", "39"))


def test_what_compiles_can_be_written() -> None:
    found = compile_row({**row(FORKS, GOOD, "39"), "id": "row-\ud83d"}, "rows:1")
    assert isinstance(found, Refused) or json.dumps(found.problem.model_dump(), ensure_ascii=False).encode()


def test_great_lengths_are_refused_by_name() -> None:
    assert refusal("12 words " * 12_000, GOOD, "39") == "too long"
    assert refusal(FORKS, f"{GOOD}\n" * 6000, "39") == "too long"
    assert refusal(FORKS, "<<3*13=39>>" * 10_000, "39") == "too long"


# fmt: off
HEAVY = {
    "annotations on one line": (FORKS, "<<3*13=39>>" * 1700),
    "annotations on many lines": (FORKS, "<<3*13=39>>\n" * 1600),
    "nested brackets": (FORKS, "(" * 9000 + "3*13" + ")" * 9000 + "=39"),
    "nested brackets within a line": (FORKS, "(" * 98 + "3*13" + ")" * 98 + "=39"),
    "open brackets": (FORKS, "(" * 3900 + "=39"),
    "open annotations": (FORKS, "<<" * 9000),
    "equal signs": (FORKS, ("3=" * 1900 + "\n") * 5),
    "a long sum": (FORKS, "+".join(["3"] * 1900) + "=39"),
    "long sums": (FORKS, ("+".join(["3"] * 99) + "=297\n") * 45),
    "long products": (FORKS, ("*".join(["9" * 24] * 8) + "=1\n") * 80),
    "digits": ("9" * 19_000 + " forks", "9" * 19_000 + "=3*13"),
    "thousands": ("1" + ",000" * 4900, "1" + ",000" * 4500 + "=3*13"),
    "letters": ("a" * 19_000 + "3 forks", "a" * 19_000 + "=39"),
    "blanks": (FORKS + " " * 15_000, " " * 15_000),
    "unknowns": (FORKS, "2b+3c=4d-e\n" * 1500),
    "the same unknown": (FORKS, ("+".join(["2b"] * 60) + "=7b\n") * 80),
    "ands": ("one hundred and " * 1200, "3*13=39"),
    "doubling definitions": (FORKS, "\n".join(f"{b} = 1{a} + 1{a}" for a, b in pairwise("bcdefghjklmnopqrst")) + "\n1t + b = 64"),
    "deep definitions": (FORKS, "\n".join(f"{b} = {a}" + " + 1" * 95 for a, b in pairwise("bcdefghjklmnopqrst")) + "\n1t + b = 64"),
    "numbers from nowhere": (" ".join(f"{n} hours" for n in range(10_000, 11_600)), "\n".join(
        "+".join(str(n) for n in range(k, k + 99)) + f"={sum(range(k, k + 99))}" for k in range(2000, 5900, 100))),
    "one number many times": ("3 " * 9900, "3+3=6\n" * 3000),
}
# fmt: on


@pytest.mark.parametrize("name", HEAVY)
def test_heavy_rows_neither_raise_nor_stall(name: str) -> None:
    question, solution = HEAVY[name]
    assert max(len(question), len(solution)) < MOST_CHARACTERS
    with at_most(seconds=3.0):
        found = compile_row(row(question, solution, "77"), "rows:1")
    if isinstance(found, Compiled):
        check(found)


# --- files -----------------------------------------------------------------------------------------------------


def test_a_file_is_read_line_by_line_and_bad_lines_harm_no_others(tmp_path: Path) -> None:
    good = json.dumps(row(FORKS, GOOD, "39"))
    lines = [
        b"\xef\xbb\xbf" + good.encode(),  # a byte order mark
        b'{"question": "A box',
        good.encode() + b"\r",
        b"",
        b"   \t",
        json.dumps(row("Ren\xe9 has 3 boxes of 13 forks.", GOOD, "39"), ensure_ascii=False).encode("latin-1"),
        b'["question", "answer"]',
        b"39",
        b"null",
        b"[" * 100_000,
        b'{"question": "How many?", "answer": ' + b"9" * 5000 + b"}",
        json.dumps(row(None, GOOD, "39")).encode(),
        json.dumps(row(FORKS, GOOD, "about 39")).encode(),
        b'{"question": "3 boxes, 13 forks \\ud83d", "answer": "3*13=39\\n#### 39"}',
        json.dumps(row("Zo\xeb has 3 boxes of 13 forks 🍴.", GOOD, "39"), ensure_ascii=False).encode(),
        good.encode(),  # and no newline at the end
    ]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))
    found = list(compile_file(path))
    assert [item.reason if isinstance(item, Refused) else item.problem.source for item in found] == [
        "gsm8k/rows:1", "not a JSON object", "gsm8k/rows:3", "not UTF-8 text", "not a JSON object", "not a JSON object",
        "not a JSON object", "not a JSON object", "not a JSON object", "no question", "the gold is not a number",
        "broken characters", "gsm8k/rows:15", "gsm8k/rows:16",
    ]  # fmt: skip
    for item in found:
        if isinstance(item, Compiled):
            check(item)


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl"):
        list(compile_file(tmp_path / "absent.jsonl"))


# --- properties ------------------------------------------------------------------------------------------------

PIECES = (
    "3 13 39 2.5 .2 20% 100% 1/2 ½ 80,000 007 24 60 100 1 0 + - − – * × x X / ÷ // = == ( ) [ ] << >> <<3*13=39>> "
    "<<=>> #### $ € % . , ; ? ! of is are plus minus times divided by each per half twice dozen third percent more "
    "than forks boxes hours weeks dimes nickels Ann and a b c d 2b result step1 gives lost \n"
).split(" ")
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.text(max_size=80),
)
GOLDS = st.one_of(st.integers(-5, 80).map(str), st.sampled_from(["2.5", "1/2", "80,000", "$39", "", "about 5"]))


@given(TEXTS, TEXTS, GOLDS)
@example("", "", "")
@example("3 boxes of 13 forks", "x = x\n0x = 0\nx*x = 9\n1/x = 2", "39")
@settings(max_examples=200)
def test_any_text_is_compiled_rightly_or_refused(question: str, solution: str, gold: str) -> None:
    found = compile_row(row(question, solution, gold), "rows:1")
    if isinstance(found, Refused):
        assert found.reason
    else:
        check(found)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["question", "answer", "id", "extra"]), VALUES))
@settings(max_examples=100)
def test_any_object_is_a_row_or_refused(anything: dict[str, Any]) -> None:
    assert isinstance(compile_row(anything, "rows:1"), Compiled | Refused)


NOUNS = "pens cups figs nuts pins hats jars mats".split()


@dataclass(frozen=True)
class Told:
    """A solution told step by step: the numbers its question lists, its steps, and all that it computes."""

    numbers: list[int]
    steps: list[str]
    results: list[Fraction]
    used: list[int]


@st.composite
def told(draw: st.DrawFn) -> Told:
    """Draw a random expression tree over listed numbers, every step exact, none negative."""
    numbers = draw(st.lists(st.integers(2, 400), min_size=2, max_size=len(NOUNS)))
    used = draw(st.integers(2, len(numbers)))
    pool = [Fraction(number) for number in numbers[:used]]
    steps: list[str] = []
    results: list[Fraction] = []
    while len(pool) > 1:
        left, right = (pool.pop(draw(st.integers(0, len(pool) - 1))) for _ in range(2))
        choices = {"+": left + right, "*": left * right, "-": left - right, "/": left / right if right else left - 1}
        allowed = [sign for sign, value in choices.items() if is_plain(value)]
        sign = draw(st.sampled_from(allowed))
        value = choices[sign]
        text = f"{spell(left)}{sign}{spell(right)}"
        steps.append(f"That is {text}=<<{text}={spell(value)}>>{spell(value)}.")
        results.append(value)
        pool.append(value)
    return Told(numbers, steps, results, numbers[:used])


def is_plain(value: Fraction) -> bool:
    return 0 < value < 10**15 and 1000 % value.denominator == 0


@given(told())
@settings(max_examples=200)
def test_well_told_solutions_compile_grounded(tale: Told) -> None:
    things = ", ".join(f"{number} {noun}" for number, noun in zip(tale.numbers, NOUNS, strict=False))
    told_row = row(f"There are {things}. What comes out?", "\n".join(tale.steps), spell(tale.results[-1]))
    found = compile_row(told_row, "rows:1")
    everything = [*map(Fraction, tale.numbers), *tale.results]
    assert isinstance(found, Compiled) and found.grounded
    if found.problem.doubt:  # only where a number could be mistaken for another
        assert len({*everything, *CONSTANTS}) < len(everything) + len(CONSTANTS)
    check(found)
    taken = [Fraction(value) for value in values_of(found).split()]
    assert set(taken) <= {*map(Fraction, tale.numbers), *CONSTANTS}
    if len(set(everything)) == len(everything):  # no number could be mistaken for another
        assert taken == sorted(map(Fraction, tale.used))


@given(told())
@settings(max_examples=100)
def test_prose_says_what_annotations_say(tale: Told) -> None:
    things = ", ".join(f"{number} {noun}" for number, noun in zip(tale.numbers, NOUNS, strict=False))
    question, gold = f"There are {things}. What comes out?", spell(tale.results[-1])
    annotated = compiled(question, "\n".join(tale.steps), gold).problem
    prose = compiled(question, "\n".join(plain(step) for step in tale.steps), gold).problem
    assert (prose.trace, prose.doubt) == (annotated.trace, annotated.doubt)


def plain(step: str) -> str:
    """Return a step without its annotation."""
    return step.partition("<<")[0] + step.partition(">>")[2]


@given(
    st.sampled_from(CASES),
    st.lists(st.tuples(st.booleans(), st.integers(0, 400), st.integers(0, 30)), max_size=4),
    GOLDS,
)
@settings(max_examples=200)
def test_damaged_rows_are_compiled_rightly_or_refused(case: Case, cuts: list[tuple[bool, int, int]], gold: str) -> None:
    texts = [case.question, case.solution]
    for which, start, length in cuts:
        text = texts[which]
        start %= len(text) + 1
        texts[which] = text[:start] + text[start + length :] + text[start : start + length]
    for answer in (case.gold, gold):
        found = compile_row(row(texts[0], texts[1], answer), "rows:1")
        if isinstance(found, Compiled):
            check(found)
        else:
            assert found.reason


def test_compiling_again_gives_the_same() -> None:
    for case in CASES:
        assert compiled(case.question, case.solution, case.gold) == compiled(case.question, case.solution, case.gold)


@pytest.mark.parametrize("sign", ["€", "£", "₹", "₩"])
def test_money_is_money_in_any_currency(sign: str) -> None:
    """The sign changes neither the wiring nor what results are called, and stands before or behind a number."""
    question = "Ana has $50. She buys 2 packs of figs for $4 each, pears for $2 and a melon for $6. How much is left?"
    solution = "It cost 4+4+2+6=$<<4+4+2+6=16>>16.\nShe has $50-$16=$<<50-16=34>>34 left."
    dollars = compiled(question, solution, "34").problem
    assert dollars.results == ("cost", "money_left")
    money = (dollars.trace or "").replace("dollars", "money")
    behind = re.sub(r"\$(\d+)", rf"\1 {sign}", question)
    for told in (question.replace("$", sign), behind):
        problem = compiled(told, solution.replace("$", sign), "34").problem
        assert (problem.trace, problem.results) == (money, dollars.results)


def test_dollars_for_each_euro_change_euros_into_dollars() -> None:
    question = (
        "Ines has $30 and 20 euros. If each euro is worth three dollars, how many dollars does she have in total?"
    )
    found = compiled(question, "Her euros are worth 20*3=$<<20*3=60>>60.\nShe has 60+30=$<<60+30=90>>90.", "90")
    assert (shape(trace_of(found)), found.problem.doubt) == ("mul(n,n) add(0,n)", "")


def test_money_saved_each_month_is_added() -> None:
    question = "Ned saved $10 per month for 7 months. How much must he save now to have a total savings of $150?"
    found = compiled(question, "He saved 10*7=$<<10*7=70>>70.\nHe must save 150-70=$<<150-70=80>>80.", "80")
    assert (shape(trace_of(found)), found.problem.doubt) == ("mul(n,n) sub(n,0)", "")
