"""Worked solutions in GSM-8K's form, of our own, for the tests of everything that begins with such a file."""

import json
from pathlib import Path

ROWS = [
    ("Omar packs 24 lunch boxes and Rita packs half as many. Each box holds 3 rolls. How many rolls do they pack?",
     "Rita packs 24/2=<<24/2=12>>12 boxes.\nTogether that is 24+12=<<24+12=36>>36 boxes.\nThey hold 36*3=<<36*3=108>>108 rolls.\n#### 108"),
    ("A ferry carries 45 cars on each of 8 trips. How many cars is that?", "It carries 45*8=<<45*8=360>>360 cars.\n#### 360"),
    ("Nina buys 4 lamps for $15 each and pays with a card worth $100. How many dollars are left on the card?",
     "The lamps cost 4*15=$<<4*15=60>>60.\nSo 100-60=$<<100-60=40>>40 are left.\n#### 40"),
    ("A tank of 600 liters loses 15% in a storm. How many liters are left?",
     "It loses 600*.15=<<600*.15=90>>90 liters.\nThere are 600-90=<<600-90=510>>510 liters left.\n#### 510"),
    ("Paul walks 9 km on Monday and 14 km on Tuesday. His goal is 40 km. How far has he still to go?",
     "He walked 9+14=<<9+14=23>>23 km.\nHe still has 40-23=<<40-23=17>>17 km to go.\n#### 17"),
    ("Lena reads 32 pages an hour for 5 hours. How many pages does she read?", "She reads 32*5=<<32*5=160>>160 pages.\n#### 160"),
    ("A choir of 56 singers stands in 7 equal rows. Two rows sit down. How many singers still stand?",
     "Each row has 56/7=<<56/7=8>>8 singers.\nIn 7-2=<<7-2=5>>5 rows stand 5*8=<<5*8=40>>40 singers.\n#### 40"),
    ("Ivan found 18 shells, gave 5 to Uma and then found 11 more. How many shells has Ivan?",
     "He had 18-5=<<18-5=13>>13 shells left.\nNow he has 13+11=<<13+11=24>>24 shells.\n#### 24"),
]  # fmt: skip


def write_rows(path: Path, *extra: str) -> Path:
    """Write the rows as JSONL, with extra lines as they are."""
    lines = [json.dumps({"question": question, "answer": answer}) for question, answer in ROWS]
    path.write_text("\n".join([*lines, *extra]) + "\n", encoding="utf-8")
    return path
