"""Problems with known answers → worked solutions in a model's own words, kept where their calculations come to them.

Its calculations are put right before they are held against the answer, since in a trace the solver does them. What is
kept has GSM-8K's form: it compiles to traces, with the model's own sentences as their reasons.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, Literal

from mlx_trace.config import Prompt
from mlx_trace.decode.engine import MAX_SEQUENCES, Engine
from mlx_trace.decode.episode import Request
from mlx_trace.decode.params import SamplingParams
from mlx_trace.errors import UserError
from mlx_trace.language.grade import TOLERANCE
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter, common_prefix
from mlx_trace.problems.calculations import corrected
from mlx_trace.problems.compile.compiler import Compiled, compile_row
from mlx_trace.problems.fields import GOLD_MARK
from mlx_trace.problems.problem import Problem

Fate = Literal["kept", "doubtful", "ungrounded", "not compiled", "wrong", "without calculation"]
SYSTEM: Final = "You solve word problems, one calculation a line, and end with #### and the answer."
SOLVED: Final = (  # what is wanted, shown
    ("A farmer has 14 hens and sells 5 of them. Then 3 chicks hatch. How many birds does the farmer have now?",
     "After selling 5 hens the farmer has 14 - 5 = 9 hens left.\nWith the 3 chicks there are 9 + 3 = 12 birds.\n"
     "#### 12"),
    ("Ines has 24 stickers. Her brother has half as many, and her sister has 8 more than her brother. How many more "
     "stickers does Ines have than her sister?",
     "Her brother has 24 / 2 = 12 stickers.\nHer sister has 12 + 8 = 20 stickers.\n"
     "Ines has 24 - 20 = 4 more stickers than her sister.\n#### 4"),
    ("A coat costs $80 and is sold for 25% off. Omar pays with a $100 bill. How much change does he get?",
     "The discount is 80 * 25 / 100 = 20 dollars.\nThe coat costs 80 - 20 = 60 dollars.\n"
     "He gets 100 - 60 = 40 dollars in change.\n#### 40"),
    ("There are some pears in a bowl. After Lena puts in 7 more there are 19 pears. How many pears were in the bowl at "
     "first?", "There were 19 - 7 = 12 pears at first.\n#### 12"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a model wrote of a problem, corrected; what became of it, and how many of its calculations were wrong."""

    problem: Problem
    number: int  # of the problem's samples
    text: str
    fate: Fate
    mistakes: int
    tokens: int

    def as_row(self) -> dict[str, Any]:
        """Return a row of GSM-8K's form, which `compile` and a run's data read."""
        return {"id": f"{self.problem.id}/{self.number}", "question": self.problem.question,
                "answer": f"{self.text}\n{GOLD_MARK} {self.problem.answer}"}  # fmt: skip


def explanations(
    base: Base, problems: Sequence[Problem], params: SamplingParams, batch_size: int = MAX_SEQUENCES,
    report: Callable[[int], None] = lambda done: None,
) -> Iterator[Explanation]:  # fmt: skip
    """Let a model solve problems in words, `params.n` times each, and yield what it wrote, in whatever order it comes.

    Rejection sampling after a few shown solutions, as in STaR (Zelikman et al. 2022) and RFT (Yuan et al. 2023).
    UserError for a model whose template asks for traces.
    """
    asker = _SolutionAsker(base)
    engine = Engine(base.network, asker.stop_ids, prefix=asker.prefix, max_sequences=batch_size)
    requests = [Request(asker.ids(problem.question), stream=index) for index, problem in enumerate(problems)]
    for done, episode in enumerate(engine.finished(requests, params), start=1):
        problem = problems[episode.prompt]
        yield _judged(problem, episode.number, asker.reply(episode.ids), len(episode.ids))
        report(done)


class _SolutionAsker:
    """Asks a model for solutions in words: as its chat template does, or in plain text where it has none."""

    def __init__(self, base: Base) -> None:
        self.tokenizer = base.tokenizer
        self.is_chat = bool(getattr(base.tokenizer, "chat_template", None))
        self.prompter = Prompter(base.tokenizer, Prompt(template="chat" if self.is_chat else "raw", system=""))
        if self.prompter.opens_fence:
            raise UserError(f"{base.name}: its template asks for traces, so that it writes no solutions; say the model "
                            "that it was trained from")  # fmt: skip
        self.stop_ids = frozenset(base.tokenizer.eos_token_ids)
        self.prefix = common_prefix(self.ids)

    def ids(self, question: str) -> list[int]:
        """Return the ids of the prompt for a question."""
        if not self.is_chat:
            shown = "".join(f"Question: {asked}\nAnswer: {solution}\n\n" for asked, solution in SOLVED)
            return self.prompter.encode(f"{SYSTEM}\n\n{shown}Question: {question}\nAnswer:")
        messages = [{"role": role, "content": text} for pair in SOLVED
                    for role, text in zip(("user", "assistant"), pair, strict=True)]  # fmt: skip
        if self.prompter.has_system_role:
            messages.insert(0, {"role": "system", "content": SYSTEM})
        return self.prompter.encode(self.prompter.render([*messages, {"role": "user", "content": question}]))

    def reply(self, ids: Sequence[int]) -> str:
        """Return a reply's text, up to its answer."""
        text = str(self.tokenizer.decode([id_ for id_ in ids if id_ not in self.stop_ids]))
        return text.partition(GOLD_MARK)[0].partition("\nQuestion:")[0]


def _judged(problem: Problem, number: int, text: str, tokens: int) -> Explanation:
    """Return a solution, corrected, with what becomes of it."""
    solution = corrected(text)
    explanation = Explanation(problem, number, solution.text, "kept", solution.mistakes, tokens)
    return replace(explanation, fate=_fate(explanation.as_row(), problem, solution.outcome))


def _fate(row: dict[str, Any], problem: Problem, outcome: Fraction | None) -> Fate:
    """Return what becomes of a row: kept where its calculations come to the answer, and a sound trace can be made."""
    if outcome is None:
        return "without calculation"
    if problem.expected is None or abs(outcome - problem.expected) >= TOLERANCE:
        return "wrong"
    compiled = compile_row(row, problem.id)
    if not isinstance(compiled, Compiled):
        return "not compiled"
    if not compiled.grounded:
        return "ungrounded"
    return "doubtful" if compiled.problem.doubt else "kept"
