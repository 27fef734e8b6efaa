"""The chat: what is typed, pasted and completed, what is drawn at any width, its commands, and a terminal it leaves whole."""

import argparse
import io
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from mlx_trace.chat import Reply, ask, poll, polling, reply_to
from mlx_trace.cli import history
from mlx_trace.cli.commands import HELP, completions, obey
from mlx_trace.cli.frame import Frame
from mlx_trace.cli.history import AskedHistory, open_history
from mlx_trace.cli.keyboard import Keyboard
from mlx_trace.cli.live import WIDE, AnswerView
from mlx_trace.cli.main import make_parser
from mlx_trace.cli.paint import LONGEST, UNUSED, USED, marked
from mlx_trace.cli.screen import Screen
from mlx_trace.cli.talk import Talk
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.episode import Episode
from mlx_trace.decode.params import SamplingParams
from mlx_trace.errors import UserError
from mlx_trace.evaluate.vote import Vote, cast
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter
from mlx_trace.notice import safe
from tests.cli.scripted_chat import opener

QUESTION = "Ann has 12 pens and gets 5 more; her brother is 7. How many pens has she?"
GOOD = """expert: arithmetic
trace:
- {op: init, var: pens, value: 12}
- {op: init, var: more, value: 5}
# she has 12+5=17 pens
- {op: compute, compute_op: add, args: [pens, more], var: sum}
- {op: query, var: sum}
```"""
FAILS = GOOD.replace("args: [pens, more]", "args: [pens, eggs]")
COPIES = "expert: arithmetic\ntrace:\n- {op: init, var: pens, value: 12}\n- {op: query, var: pens}\n```"
PROSE = "I think that it is 12."
HOSTILE = "\x1b]0;title\x07\x1b[31mred\x1b[0m\x9b2J \u202egnp.exe\r\x08\x00\x7f\udc80"


# --- what is typed ---------------------------------------------------------------------------------------------------

Typing = Callable[[str], str | None]


@pytest.fixture
def typing() -> Iterator[Typing]:
    """Return what types some keys and reads an entry."""
    with create_pipe_input() as keys:
        keyboard = Keyboard(InMemoryHistory(), completions(), input=keys, output=DummyOutput())

        def read(typed: str) -> str | None:
            keys.send_text(typed)
            return keyboard.read("1> ")

        yield read


def test_a_line_is_edited_and_read(typing: Typing) -> None:
    assert typing("How many are 2 and 3?\r") == "How many are 2 and 3?"
    assert typing("nd 4?\x01A\r") == "And 4?"
    assert typing("\x1b[A\x1b[A\r") == "How many are 2 and 3?"
    assert typing("one\x1b\rtwo\r") == "one\ntwo"


def test_ctrl_c_clears_the_line_then_interrupts_and_ctrl_d_ends(typing: Typing) -> None:
    assert typing("never asked\x03asked\r") == "asked"
    with pytest.raises(KeyboardInterrupt):
        typing("\x03")
    assert typing("\x04") is None


@given(st.lists(st.text(st.characters(min_codepoint=32, blacklist_categories=("Cs", "Cc")), min_size=1), min_size=1, max_size=6),
       st.sampled_from(["\n", "\r\n", "\r"]))  # fmt: skip
def test_a_paste_of_several_lines_is_one_entry(lines: list[str], ending: str) -> None:
    with create_pipe_input() as keys:
        keyboard = Keyboard(InMemoryHistory(), completions(), input=keys, output=DummyOutput())
        keys.send_text(f"\x1b[200~{ending.join(lines)}\x1b[201~\r")
        assert keyboard.read("1> ") == "\n".join(lines)


def test_large_pastes_are_counted_on_the_screen_and_read_whole(typing: Typing) -> None:
    first, second = "x 1 " * 5_000, "y\n" * 3_000  # a pipe holds 64 kB
    entered = typing(f"a \x1b[200~{first}\x1b[201~ b \x1b[200~{second}\x1b[201~ c\r")
    assert entered == f"a {first} b {second.rstrip()} c"


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("/wh", ["/why"]), ("/model smollm2-13", ["smollm2-135m"]), ("/save /etc/host", ["s"]), ("/samples ", []),
     ("no command", []), ("/nothing x", [])],
)  # fmt: skip
def test_tab_completes_commands_and_what_they_take(typed: str, completed: list[str]) -> None:
    with create_pipe_input() as keys:
        completer = Keyboard(InMemoryHistory(), completions(), input=keys, output=DummyOutput()).session.completer
        assert completer is not None
        found = [one.text for one in completer.get_completions(Document(typed), CompleteEvent())]
    assert set(completed) <= set(found) and bool(found) == bool(completed)


def test_what_was_asked_is_remembered_for_its_owner_alone_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST_BYTES", 4_000)
    path = tmp_path / "state" / "history"
    before = os.umask(0)
    try:
        asked = open_history(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for number in range(200):
        asked.store_string(f"question {number}\nof two lines")
    for left_out in ("odd bytes \udc80", "x" * (history.LONGEST + 1)):
        asked.store_string(left_out)
    assert path.stat().st_size > 4_000
    kept = list(open_history(path).load_history_strings())
    assert path.stat().st_size <= 4_000
    assert kept == [f"question {199 - back}\nof two lines" for back in range(len(kept))] and len(kept) > 10


def test_a_history_that_cannot_be_kept_is_told_and_no_obstacle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "history").mkdir()
    asked = open_history(tmp_path / "history")
    assert not isinstance(asked, AskedHistory)
    asked.store_string("remembered")
    assert list(asked.load_history_strings()) == ["remembered"]
    assert "is a directory; questions are not remembered" in capsys.readouterr().err
    kept = open_history(tmp_path / "other")
    (tmp_path / "other").unlink()
    (tmp_path / "other").mkdir()
    kept.store_string("lost")
    assert list(kept.load_history_strings()) == []


# --- what is drawn ---------------------------------------------------------------------------------------------------


def screen(width: int = 80, height: int = 24, **settings: Any) -> Screen:
    made = Screen(file=io.StringIO())
    made._force_terminal, made._width, made._height = True, width, height
    made.legacy_windows, made.no_color = False, True
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def shown(made: Screen) -> str:
    assert isinstance(made.file, io.StringIO)
    return made.file.getvalue()


def view_of(text: str, question: str = QUESTION, is_done: bool = True) -> AnswerView:
    view = AnswerView(question, "1> ", text)
    if is_done:
        view.reply = reply_to(question, text, Episode(0, [], [1] * 9))
    return view


def plain(view: AnswerView, width: int) -> list[str]:
    """Return the lines of a view, without styles."""
    made = screen(width)
    lines = made.render_lines(view.rendered(made.options), made.options.update(height=None), pad=False)
    return ["".join(segment.text for segment in line) for line in lines]


TEXTS = st.sampled_from([GOOD, FAILS, COPIES, PROSE, "", HOSTILE, "expert: x\ntrace:\n- [" + HOSTILE])


@given(TEXTS, st.integers(0, 400), st.integers(1, 250), st.booleans(), st.text() | st.just(QUESTION + HOSTILE))
def test_any_reply_at_any_width_is_drawn_within_it_and_never_acts(
    text: str, end: int, width: int, is_done: bool, question: str
) -> None:
    made = screen(width)
    view = view_of(text[:end], question, is_done)
    frame = Frame(made)
    frame.draw(view.rendered, is_final=True)
    drawn = re.sub(r"\x1b\[[0-9;]*[A-Za-z]|\r", "", shown(made))
    assert safe(drawn) == drawn
    room = max(width, 30)  # as numbers are never cut
    assert all(len(line) <= room for line in plain(view_of(GOOD[:end], QUESTION, is_done), room))


def test_the_ledger_stands_beside_the_trace_where_there_is_room_and_else_below() -> None:
    wide, narrow = plain(view_of(GOOD), WIDE), plain(view_of(GOOD), WIDE - 1)
    beside = [line for line in wide if line.startswith("trace:") and "pens is given" in line]
    assert len(beside) == 1
    trace = next(number for number, line in enumerate(narrow) if "op: query" in line)
    ledger = next(number for number, line in enumerate(narrow) if "pens is given" in line)
    assert ledger > trace
    assert any(line.startswith("= 17") for line in wide) and any("does not use 7" in line for line in wide)


def test_steps_have_their_values_as_soon_as_they_are_written() -> None:
    until = GOOD.index("\n- {op: query")
    growing = "\n".join(plain(view_of(GOOD[:until], is_done=False), 120))
    assert "sum = pens + more" in growing and "17" in growing and "answer" not in growing
    assert "sum = pens" not in "\n".join(plain(view_of(GOOD[: until - 5], is_done=False), 120))


def test_numbers_of_the_question_are_marked_by_whether_they_are_used() -> None:
    def styled(text: Any, style: Any) -> set[str]:
        return {text.plain[span.start : span.end] for span in text.spans if span.style == style}

    so_far, whole = (marked(QUESTION, {Fraction(12), Fraction(5)}, is_final) for is_final in (False, True))
    assert styled(so_far, USED) == styled(whole, USED) == {"12", "5"}
    assert (styled(so_far, UNUSED), styled(whole, UNUSED)) == (set(), {"7"})
    assert "more characters" in marked("1 " * LONGEST, [], True).plain


def test_an_objection_is_in_plain_words() -> None:
    said = [line.strip() for line in plain(view_of(FAILS), WIDE - 1)]
    assert "↳ eggs is not defined; a step can only use what a step before it has named" in said
    assert "short circuit" not in "\n".join(plain(view_of(COPIES), 200))


class _Terminal:
    """As much of a terminal as a frame needs: rows, a cursor, and lines that wrap again when it gets narrower."""

    def __init__(self, width: int) -> None:
        self.width, self.rows, self.row = width, [""], 0

    def feed(self, text: str) -> None:
        for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            if piece == "\n":
                self.row += 1
                if self.row == len(self.rows):
                    self.rows.append("")
            elif piece == "\x1b[1A":
                self.row -= 1
            elif piece == "\x1b[2K":
                self.rows[self.row] = ""
            elif not piece.startswith(("\x1b", "\r")):
                self.rows[self.row] += piece

    def narrow(self, width: int) -> None:
        rows = [[row[at : at + width] for at in range(0, max(len(row), 1), width)] for row in self.rows]
        self.row = sum(map(len, rows[: self.row + 1])) - 1
        self.rows, self.width = [part for parts in rows for part in parts], width


@given(
    st.lists(
        st.tuples(st.lists(st.text("abc ", max_size=70), min_size=1, max_size=9), st.integers(10, 60)),
        min_size=1,
        max_size=5,
    )
)
def test_a_frame_leaves_what_it_drew_last_and_nothing_else(frames: list[tuple[list[str], int]]) -> None:
    width = 70
    made, terminal = screen(width, 200), _Terminal(width)
    frame = Frame(made)
    terminal.feed("before\n")
    for number, (lines, narrower) in enumerate(frames):
        frame._drawn = 0.0
        is_final = number == len(frames) - 1
        at = made.file.tell()
        frame.draw(lambda _, lines=lines: "\n".join(lines), is_final)
        terminal.feed(shown(made)[at:])
        if not is_final and narrower < width:
            width = narrower
            made._width = width
            terminal.narrow(width)
    lines = made.render_lines("\n".join(frames[-1][0]), pad=False)
    drawn = ["".join(segment.text for segment in line).rstrip() for line in lines]
    while terminal.rows and not terminal.rows[-1]:
        terminal.rows.pop()
    while drawn and not drawn[-1]:
        drawn.pop()
    assert terminal.rows == ["before", *drawn]


# --- what it is told -------------------------------------------------------------------------------------------------


def talk_with(*replies: str, **settings: Any) -> Talk:
    options = argparse.Namespace(**{**vars(make_parser("chat").parse_args([])), **settings})
    return Talk(options, opener(list(replies), 0.0), screen(120), interactive=True)


def say(talk: Talk, line: str) -> str:
    """Return what a command shows."""
    assert isinstance(talk.screen.file, io.StringIO)
    at = talk.screen.file.tell()
    obey(line, talk, "1> ")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown(talk.screen)[at:])


def test_why_draws_what_leads_to_the_answer_down_to_the_question() -> None:
    talk = talk_with(GOOD)
    talk.ask(QUESTION, "1> ")
    lines = say(talk, "/why").splitlines()
    assert lines[0].startswith("sum = 12 + 5 = 17")
    assert "pens = 12  “Ann has 12 pens and”" in lines[1] and "more = 5  “and gets 5 more; her”" in lines[2]


def test_what_uses_a_number_many_times_is_drawn_in_few_lines() -> None:
    steps = "\n".join(f"- {{op: compute, compute_op: add, args: [x{n}, x{n}], var: x{n + 1}}}" for n in range(60))
    talk = talk_with(
        f"expert: arithmetic\ntrace:\n- {{op: init, var: x0, value: 2}}\n{steps}\n- {{op: query, var: x60}}\n```"
    )
    talk.ask("Two times 2?", "1> ")
    assert len(say(talk, "/why").splitlines()) < 140


def test_repair_gives_what_failed_back_with_the_objection_and_again_asks_anew() -> None:
    talk = talk_with(FAILS, PROSE, GOOD, GOOD)
    talk.ask(QUESTION, "1> ")
    assert "no trace" in say(talk, "/repair")
    assert "= 17" in say(talk, "/repair")
    said, before = talk.decoder.prompts[-1]
    assert said.startswith("This is no trace: ") and [pair.reply for pair in before] == [FAILS, PROSE]
    with pytest.raises(UserError, match="the last reply runs"):
        say(talk, "/repair")
    assert "= 17" in say(talk, "/again")
    assert [row["repairs"] for row in talk.rows] == [0, 1, 2, 0]
    with pytest.raises(UserError, match="nothing was asked yet"):
        say(talk_with(GOOD), "/again")


def test_a_model_that_cannot_be_loaded_leaves_the_one_that_there_is() -> None:
    talk = talk_with(GOOD)
    before = talk.decoder
    with pytest.raises(UserError, match="absent: no such model\nscripted stays"):
        say(talk, "/model absent")
    assert talk.decoder is before
    assert say(talk, "/model other").splitlines()[-1] == "other."
    assert "smollm2-135m" in say(talk, "/model")


@pytest.mark.parametrize(("line", "said"), [("/samples 0", "below 1"), ("/samples x", "not a whole number"), ("/samples 1 2", "takes one word"),
                                            ("/wyh", "did you mean /why"), ("/xyz", "/help shows"), ("/save", "name a file")])  # fmt: skip
def test_a_command_that_cannot_be_done_says_why(line: str, said: str) -> None:
    talk = talk_with(GOOD)
    with pytest.raises(UserError, match=said):
        say(talk, line)


def test_samples_vote() -> None:
    talk = talk_with(GOOD, FAILS, GOOD, GOOD)
    assert say(talk, "/samples 4") == "4 replies a question, at temperature 0.7, which vote\n"
    talk.ask(QUESTION, "1> ")
    assert "3 of 4 say 17, 1 has no answer" in shown(talk.screen)
    assert talk.rows[-1]["votes"][0]["count"] == 3
    assert say(talk, "/samples 1") == "1 reply a question, greedy\n"


def test_what_was_asked_is_saved_and_nothing_replaced_unasked(tmp_path: Path) -> None:
    talk, file = talk_with(GOOD), tmp_path / "a b.jsonl"
    talk.ask(QUESTION, "1> ")
    assert "1 question" in say(talk, f"/save '{file}'")
    (row,) = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    assert (row["question"], row["answer"], row["model"], row["unused"]) == (QUESTION, "17", "scripted", ["7"])
    with pytest.raises(UserError, match="exists already; /save! "):
        say(talk, f"/save '{file}'")
    assert "1 question" in say(talk, f"/save! '{file}'")
    for path in ("/dev/full", tmp_path, tmp_path / "no" / "such"):
        with pytest.raises(UserError, match=str(path)):
            say(talk, f"/save {path}")


def test_help_names_every_command_and_all_are_completed() -> None:
    said = say(talk_with(GOOD), "/help")
    assert all(name in said for name in HELP)
    assert set(HELP) <= set(completions())


def test_a_reply_that_is_stopped_leaves_the_one_before_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = talk_with(GOOD)
    talk.ask(QUESTION, "1> ")

    def stopped(*_: Any) -> Iterator[str | Reply]:
        yield "expert: arith"
        raise KeyboardInterrupt

    monkeypatch.setattr("mlx_trace.chat.ask", stopped)
    with pytest.raises(KeyboardInterrupt):
        talk.ask("And 3?", "2> ")
    with pytest.raises(UserError, match="nothing was answered yet"):
        say(talk, "/why")
    with pytest.raises(UserError, match="was stopped"):
        say(talk, "/repair")
    assert len(talk.rows) == 1


def test_a_first_reply_that_is_stopped_while_its_prompt_is_read_spoils_no_other(
    random_base: Base, prompter: Prompter, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = SamplingParams(200)
    expected = poll(Decoder(random_base, prompter, Decoding(rules="all")), QUESTION, params)[0].text
    decoder = Decoder(random_base, prompter, Decoding(rules="all"))
    with monkeypatch.context() as patch:
        patch.setattr(decoder.engine, "read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(ask(decoder, QUESTION, params))
    *texts, reply = ask(decoder, QUESTION, params)
    assert isinstance(reply, Reply) and reply.text == expected
    assert expected.startswith("".join(text for text in texts if isinstance(text, str)))


def interrupted(*_: Any) -> list[list[int]]:
    raise KeyboardInterrupt


def test_a_vote_that_is_watched_is_the_vote(random_base: Base, prompter: Prompter) -> None:
    params = SamplingParams(200, temperature=1.0, n=5)
    decoder = Decoder(random_base, prompter, Decoding(rules="all"))
    *growing, (reply, vote) = polling(decoder, QUESTION, params)
    texts = [prompter.decode(episode.ids) for episode in decoder.sample([QUESTION], params)]
    assert vote.ballots == cast(QUESTION, texts)
    assert reply.text == texts[vote.speaker]
    assert [len(one.ballots) for one in growing if isinstance(one, Vote)] == [1, 2, 3, 4, 5]
