"""A reply that the solver cannot run is given back with its words, for some turns; one that is merely wrong is not."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.params import SamplingParams
from mlx_trace.evaluate.evaluate import Watcher, sample
from mlx_trace.evaluate.kept import KeptRecords
from mlx_trace.evaluate.record import Record
from mlx_trace.evaluate.repair import AGAIN, Turn, conversation, message
from mlx_trace.evaluate.way import ReplyWay
from mlx_trace.language.grade import grade
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.steps import Init
from mlx_trace.language.syntax import Trace, parse
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem

RIGHT = """\
expert: arithmetic
trace:
- {op: init, var: a, value: 8}
- {op: compute, compute_op: add, args: [a, 1], var: b}
- {op: query, var: b}"""
WRONG = RIGHT.replace("1]", "2]")
INVALID = RIGHT.replace("[a, 1]", "[z, 1]")
PROSE = "I think it is nine."
REPLIES = {  # of each problem, turn by turn
    "right": [RIGHT], "wrong": [WRONG], "mended": [INVALID, RIGHT], "late": [PROSE, INVALID, RIGHT],
    "mended wrongly": [PROSE, WRONG], "never": [PROSE, PROSE, PROSE],
}  # fmt: skip
Make = Callable[[], Base]


def ask(name: str) -> Problem:
    return Problem(id=name, question=f"8 and 1 {name}?", answer="9")


def turn(text: str) -> Turn:
    return Turn(text, grade(text, ask("x").expected), 1, 1, 1, False, 0.0)


@pytest.fixture
def make(random_base: Base, prompter: Prompter, scripted: Callable[..., Any]) -> Make:
    """Make the base whose replies, conversation by conversation, are those above."""

    def base() -> Base:
        queued: dict[tuple[int, ...], list[int]] = {}
        for name, texts in REPLIES.items():
            for number, text in enumerate(texts):
                ids = prompter.ids(*conversation(ask(name).question, [turn(before) for before in texts[:number]]))
                reply = prompter.tokenizer.encode(text + "\n```", add_special_tokens=False)
                queued[tuple(ids)] = [*reply, prompter.tokenizer.eos_token_id]
        longest_first = dict(sorted(queued.items(), key=lambda item: -len(item[0])))  # a prompt begins the next one
        return replace(random_base, network=scripted(longest_first, vocab_size=len(prompter.tokenizer.get_vocab())))

    return base


def run(base: Base, prompter: Prompter, repair: int, known: Any = None, watcher: Watcher | None = None) -> list[Record]:
    way = ReplyWay(SamplingParams(300), Decoding(constraint="none"), repair)
    return [own for (own,) in sample(base, prompter, list(map(ask, REPLIES)), way, watcher=watcher, known=known)]


def test_only_what_the_solver_cannot_run_is_given_back(make: Make, prompter: Prompter) -> None:
    for repair, right in ((0, 1), (1, 2), (2, 3)):
        records = run(make(), prompter, repair)
        assert [record.output for record in records] == [texts[: repair + 1][-1] for texts in REPLIES.values()]
        assert sum(record.correct for record in records) == right
        assert [len(record.turns) for record in records] == [len(texts[: repair + 1]) for texts in REPLIES.values()]


def test_tokens_are_those_of_all_turns(make: Make, prompter: Prompter) -> None:
    late = run(make(), prompter, 2)[3]
    row = json.loads(late.as_json())
    assert [one["output"] for one in row["turns"]] == REPLIES["late"]
    assert [one["said"] is None for one in row["turns"]] == [False, False, True]
    for key in ("tokens", "sampled", "prompt_tokens"):
        assert row[key] == sum(one[key] for one in row["turns"])
    assert [one["prompt_tokens"] for one in row["turns"]] == [
        len(prompter.ids(*conversation(late.problem.question, late.turns[:n]))) for n in range(3)
    ]
    assert (row["kind"], row["correct"], row["got"]) == ("correct", True, "9")
    assert "turns" not in json.loads(run(make(), prompter, 2)[0].as_json())


def test_what_is_said_is_the_solvers_word_and_never_the_answer() -> None:
    said = message(grade(INVALID, ask("x").expected), False)
    assert said.startswith("This trace does not run: step 2: ") and said.endswith(AGAIN)
    assert "_" not in said.removesuffix(AGAIN), "no name of a kind"
    assert message(grade(PROSE), False).startswith("This is no trace: ")
    assert message(grade(PROSE), True).startswith("This was cut off")
    asked, before = conversation("q?", [turn(PROSE), turn(INVALID)])
    assert [pair.said for pair in before] == ["q?", message(grade(PROSE), False)]
    assert ([pair.reply for pair in before], asked) == ([PROSE, INVALID], said)


@pytest.mark.parametrize("stop", range(1, 10))
def test_repair_goes_on_where_it_was_stopped(stop: int, make: Make, prompter: Prompter, tmp_path: Path) -> None:
    problems, kept = list(map(ask, REPLIES)), []

    def told(rows: Sequence[Record]) -> list[Any]:
        return [[(one.output, one.tokens, one.prompt_tokens) for one in row.turns] for row in rows]

    def opened() -> KeptRecords:
        return KeptRecords(tmp_path / "r.jsonl", {"a": 1}, problems, 1)

    first = opened()

    def keep(number: int, records: Sequence[Record]) -> None:
        first.keep(number, records)
        kept.append(number)
        if len(kept) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make(), prompter, 2, watcher=Watcher(keep=keep))
    first.close()
    again = opened()
    assert len(again.known) == min(stop, len(REPLIES))
    assert told(run(make(), prompter, 2, again.known)) == told(run(make(), prompter, 2))
    again.done()


def test_a_conversation_without_room_ends(make: Make, prompter: Prompter, capsys: pytest.CaptureFixture[str]) -> None:
    base = make()
    longest = max(len(prompter.ids(ask(name).question)) for name in REPLIES)
    short = replace(base, config={**base.config, "max_position_embeddings": longest + 300})
    assert [len(record.turns) for record in run(short, prompter, 2)] == [1] * len(REPLIES)
    assert capsys.readouterr().err.count("is not repaired any more") == 1


def test_the_constraint_holds_in_a_conversation(random_base: Base, prompter: Prompter) -> None:
    question, said = "Tom has 4 eggs and 7 hens. How many?", "This does not run: 93 and 88 are numbers of its own."
    _, before = conversation(question, [turn(INVALID)])
    decoder = Decoder(random_base, prompter, Decoding(rules="all"))
    (episode,) = decoder.finished([question], SamplingParams(120), None, [prompter.ids(said, before)])
    trace = parse(prompter.decode(episode.ids))
    assert isinstance(trace, Trace)
    values = {step.value for part in trace.parts for step in part.steps if isinstance(step, Init)}
    stated = {reading for mention in find_numbers(question) for reading in mention.readings}
    assert not values & {93, 88, 8} and values & stated
