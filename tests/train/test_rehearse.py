"""What a run needs late is tried early: the constraint on every kind of gold trace, and the user's own reward."""

from pathlib import Path
from typing import Any

import pytest

from mlx_trace.config import Config, Prompt
from mlx_trace.config_decoding import Decoding
from mlx_trace.decode.grammar.vocabulary import vocabulary_of
from mlx_trace.errors import UserError
from mlx_trace.model.prompts import CLOSING, Prompter
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas
from mlx_trace.train.examples import examples
from mlx_trace.train.rehearse import try_constraint, try_reward
from mlx_trace.train.rl.reward import make_scorer
from tests.decode.grammar import families

QUESTION = Problem(question="Ann has 3 eggs and buys 4. How many has she?", answer="7", id="eggs")


def prompter(family: str) -> Prompter:
    """Return the prompter of a family's tokenizer."""
    from mlx_lm.tokenizer_utils import TokenizerWrapper

    return Prompter(TokenizerWrapper(families.trained(family)), Prompt())


def problems(count: int = 30) -> list[Problem]:
    """Return problems of all kinds."""
    return generate_balanced(list(load_schemas().values()), count, seed=1)


@pytest.mark.parametrize("family", families.NAMES)
def test_what_sft_is_taught_is_what_the_constraint_offers(family: str) -> None:
    drawn = problems()
    assert "30 of 30 gold traces" in try_constraint(drawn, prompter(family), Decoding())
    for problem, made in zip(drawn, examples(drawn, prompter(family), 4000), strict=True):
        assert prompter(family).decode(made.target) == problem.trace


def test_golds_that_the_constraint_forbids_are_counted_and_named() -> None:
    beyond = Problem(question="Ann has 3 eggs.", answer="7", id="beyond", trace=problems(1)[0].trace)
    found = try_constraint([*problems(4), beyond], prompter("GPT-2"), Decoding())
    assert "grounding hard: 4 of 5 gold traces can be written under it; the first that cannot: beyond" in found
    free = Decoding.model_validate({"grounding": "off"})
    assert "grounding off: 5 of 5" in try_constraint([*problems(4), beyond], prompter("GPT-2"), free)


def test_many_golds_are_tried_in_part_and_none_without_a_constraint() -> None:
    assert "of 150 gold" in try_constraint(problems(300), prompter("GPT-2"), Decoding())
    assert try_constraint(problems(3), prompter("GPT-2"), Decoding.model_validate({"constraint": "none"})) == ""
    assert try_constraint([QUESTION], prompter("GPT-2"), Decoding()) == ""


@pytest.mark.parametrize(
    ("body", "said"),
    [("return 1 / 0", r"ZeroDivisionError: division by zero \(mine.py, line 2\)"), ("return float('nan')", "returned nan"),
     ("return [1]", r"returned \[1\]"), ("return None", "returned None"), ("return True", "returned True")],
)  # fmt: skip
def test_a_reward_that_fails_is_found_out_at_once(body: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"def reward(problem, reply, grade):\n    {body}\n", encoding="utf-8")
    content: dict[str, Any] = {"reinforce": {"reward_function": f"{tmp_path / 'mine.py'}:reward"}}
    scorer = make_scorer(Config.model_validate(content).reinforce)
    with pytest.raises(UserError, match=f"on problem 'eggs' and the reply 'expert.*{said}"):
        try_reward([QUESTION], scorer)


@pytest.mark.parametrize(
    "body", ["raise RuntimeError('no licence')", "import nothing_of_that_name", "def reward(:", "raise SystemExit"]
)
def test_a_reward_whose_file_fails_is_one_line(body: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"{body}\n", encoding="utf-8")
    content: dict[str, Any] = {"reinforce": {"reward_function": f"{tmp_path / 'mine.py'}:reward"}}
    with pytest.raises(UserError, match=r"reward_function: .*mine\.py: \w+"):
        make_scorer(Config.model_validate(content).reinforce)


def test_a_reward_that_ends_the_process_does_not(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def reward(problem, reply, grade):\n    raise SystemExit(0)\n", encoding="utf-8")
    content: dict[str, Any] = {"reinforce": {"reward_function": f"{tmp_path / 'mine.py'}:reward"}}
    with pytest.raises(UserError, match=r"on problem 'eggs' and the reply .* SystemExit"):
        try_reward([QUESTION], make_scorer(Config.model_validate(content).reinforce))


@pytest.mark.parametrize("family", families.NAMES)
def test_prompts_encoded_together_are_those_encoded_alone(family: str) -> None:
    questions = [problem.question for problem in problems()] + [" spaced ", "½ of €5 — naïve?", "x"]
    one = prompter(family)
    assert one.many_ids(questions) == [one.ids(question) for question in questions]
    assert one.many_ids([]) == []


@pytest.mark.parametrize("family", families.NAMES)
def test_long_texts_are_the_tokens_of_their_words_however_they_are_remembered(family: str) -> None:
    vocabulary = vocabulary_of(prompter(family).tokenizer)
    for problem in problems():
        text = f"{problem.trace}{CLOSING}"
        assert list(vocabulary.word(text)) == [
            token for word in vocabulary.cut(text) for token in vocabulary.word(word)
        ]
