"""Families load whole, or every fault of every file is told at once, with file and field."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_trace.errors import UserError
from mlx_trace.problems.synthetic.generator import Options, draw
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas

GOOD: dict[str, Any] = {
    "name": "gift",
    "description": "What is left after a gift.",
    "group": "sequential",
    "quantities": {"start": {"range": [10, 20]}, "given": {"range": [2, 5]}},
    "slots": {"person": "person", "item": ["toy", "fruit"]},
    "parts": [
        {
            "expert": "arithmetic",
            "steps": [
                "{op: init, var: <item:s>, value: <start>}",
                "{op: compute, compute_op: sub, args: [<item:s>, <given>], var: result}",
                "{op: query, var: result}",
            ],
        }
    ],
    "answer": "start - given",
    "templates": {
        "train": ["{person} has {start @item} and gives {given} away. How many are left?"] * 1,
        "eval": ["Of {start @item}, {person} gives {given}. How many {item:s} stay?"],
    },
}
VOCABULARY = {
    "person": [{"one": "Ann", "pronoun": "she"}, {"one": "Bob", "pronoun": "he"}],
    "toy": ["kite", {"one": "yo-yo", "many": "yo-yos"}],
    "fruit": ["plum"],
}


def folder(root: Path, *schemas: dict[str, Any] | str, vocabulary: Any = VOCABULARY) -> Path:
    (root / "vocab").mkdir(parents=True)
    (root / "vocab" / "words.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (root / "arithmetic").mkdir()
    for at, schema in enumerate(schemas):
        name = schema.get("name", "x") if isinstance(schema, dict) else "x"
        text = json.dumps(schema) if isinstance(schema, dict) else schema
        file = root / "arithmetic" / f"{name}.json"
        file = file if not file.exists() else root / "arithmetic" / f"other_{at}.json"
        file.write_text(text, encoding="utf-8")
    return root


def changed(change: Callable[[dict[str, Any]], object], name: str = "gift") -> dict[str, Any]:
    schema = json.loads(json.dumps(GOOD)) | {"name": name}
    change(schema)
    return schema


def test_a_good_schema_loads(tmp_path: Path) -> None:
    (schema,) = load_schemas(folder(tmp_path, GOOD)).values()
    assert schema.id == "arithmetic/gift"
    assert [word.many for word in schema.slots["item"]] == ["kites", "yo-yos", "plums"]


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], object]:
    def change(schema: dict[str, Any]) -> None:
        *keys, last = path.split(".")
        inner: Any = schema
        for key in keys:
            inner = inner[int(key)] if key.isdigit() else inner[key]
        inner[int(last) if last.isdigit() else last] = value

    return change


def _told(**changes: Any) -> Callable[[dict[str, Any]], object]:
    text = "{person} has {start @item} and gives {given} away. How many are left?"
    return _set("templates.train.0", {"text": text} | changes)


BROKEN: list[tuple[Callable[[dict[str, Any]], object], str, str]] = [
    # (what is broken, the field that is named, a word of the message)
    (lambda s: s.pop("answer"), "answer", "required"),
    (_set("colour", "red"), "colour", "no such key"),
    (lambda s: s.update(anwser=s.pop("answer")), "anwser", "did you mean answer"),
    (_set("group", None), "group", "arithmetic families have a group"),
    (_set("group", "sideways"), "group", "sequential"),
    (_set("quantities.start", {"range": [20, 10]}), "quantities.start", "low"),
    (_set("quantities.start", {"range": [1, 5], "choices": [2]}), "quantities.start", "exactly one"),
    (_set("quantities.start", {"choices": ["many"]}), "quantities.start.choices.0", "not a number"),
    (_set("quantities.start", {"derive": "other * 2"}), "quantities.start.derive", "other"),
    (_set("quantities.item", {"range": [1, 2]}), "slots.item", "quantity too"),
    (_set("slots.item", "toys"), "slots.item", "toys"),
    (_set("where", ["start"]), "where.0", "not a condition"),
    (_set("where", ["start > gone"]), "where.0", "gone"),
    (_set("answer", "start - gone"), "answer", "gone"),
    (_set("answer", "start > given"), "answer", "condition"),
    (_set("parts.0.expert", "wizardry"), "parts.0.expert", "entity_track"),
    (_set("parts.0.steps.0", "{op: init, var: a, value: <gone>}"), "parts", "gone"),
    (_set("parts.0.steps.0", "{op: fly, var: a}"), "parts.0.steps.0", "no op"),
    (_set("parts.0.steps.2", "{op: query, var: result"), "parts", "YAML"),
    (_set("templates.train", []), "templates.train", "at least 1"),
    (_set("templates.train.0", "{person has {start @item} and {given}."), "templates.train.0", "placeholder"),
    (_set("templates.train.0", "{person} has {start @item}[ or so and {given}."), "templates.train.0", "not closed"),
    (_set("templates.train.0", "{person} has {start @item}."), "templates.train.0", "given"),
    (_set("templates.train.0", "{person} gives {given} of {start @gone}: {item:s}."), "templates.train.0", "gone"),
    (_set("templates.train.0", "{start:sideways} {given} {item}"), "templates.train.0", "sideways"),
    (_set("templates.train.0", "{item:they} {start} {given}"), "templates.train.0", "pronouns"),
    (_set("templates.train.0", "Twice {person} had {start @item} and {given}."), "templates.train.0", "fixed number"),
    (_set("templates.train.0", "{start} [{given}|no] {item}"), "templates.train.0", "does not always state given"),
    (_set("templates.train.0", "{start} and {given}."), "templates.train.0", "does not always name item"),
    (_told(names={"gone": "eggs"}), "templates.train.0.names.gone", "no such variable"),
    (_told(names={"<item:s>": "eggs", "result": "eggs"}), "templates.train.0.names", "one name"),
    (_told(names={"result": "eggs left"}), "templates.train.0.names.result", "not a name"),
    (_told(names={"result": "<gone>_left"}), "templates.train.0.names.result", "neither a quantity nor a slot"),
    (_told(names={"result": "<item:s>"}), "templates.train.0.names", "one name"),
    (_told(quantities={"gone": {"range": [1, 2]}}), "templates.train.0.quantities.gone", "only a quantity"),
    (_told(quantities={"given": {"derive": "start / 2"}}), "templates.train.0.quantities.given", "only a quantity"),
    (_told(quantities={"given": {"range": [2, 1]}}), "templates.train.0.quantities.given", "low"),
    (_told(colour="red"), "templates.train.0.colour", "no such key"),
]


def test_a_directory_of_broken_schemas_reports_every_one(tmp_path: Path) -> None:
    schemas = [changed(change, f"broken_{at:02}") for at, (change, _, _) in enumerate(BROKEN)]
    with pytest.raises(UserError) as error:
        load_schemas(folder(tmp_path, *schemas))
    for at, (_, field, word) in enumerate(BROKEN):
        about = [fault for fault in error.value.faults if fault.startswith(f"arithmetic/broken_{at:02}.json: ")]
        assert about, f"broken_{at:02} is not reported"
        assert any(fault.split(": ")[1] == field and word in fault for fault in about), (field, word, about)
    assert len(error.value.lines()) == 11  # ten, and how many more


def test_a_wording_names_the_variables_and_draws_the_numbers_of_its_own_story(tmp_path: Path) -> None:
    names, quantities = {"<item:s>": "eggs", "result": "eggs_left"}, {"start": {"choices": [12]}}
    told = {"text": "I had {start egg} and ate {given}. How many are left?", "names": names, "quantities": quantities}
    (schema,) = load_schemas(folder(tmp_path, changed(_set("templates.train", [told])))).values()
    assert schema.wordings["train"][0].quantities["start"].kind == schema.quantities["start"].kind == "count"
    problem = draw(schema, 1, 0, Options(number_word_rate=0))
    given = 12 - int(problem.answer)
    assert problem.question == f"I had 12 eggs and ate {given}. How many are left?"
    assert (
        problem.trace
        == f"""\
expert: arithmetic
trace:
- {{op: init, var: eggs, value: 12}}
- {{op: compute, compute_op: sub, args: [eggs, {given}], var: eggs_left}}
- {{op: query, var: eggs_left}}"""
    )
    assert "var: result" in (draw(schema, 1, 0, Options("eval", number_word_rate=0)).trace or "")


def test_a_declared_constant_may_stand_in_fixed_text(tmp_path: Path) -> None:
    def change(schema: dict[str, Any]) -> None:
        schema["templates"]["train"] = ["{person} fills {start @item} into bags of a dozen, less {given}. How many?"]

    with pytest.raises(UserError, match="'dozen' is a fixed number"):
        load_schemas(folder(tmp_path / "unknown", changed(change)))
    assert load_schemas(folder(tmp_path / "known", changed(change) | {"constants": [12]}))


def test_what_a_wording_does_not_say_of_a_quantity_is_as_the_family_has_it(tmp_path: Path) -> None:
    def change(schema: dict[str, Any]) -> None:
        schema["quantities"]["start"] = {"range": [10, 20], "as": "money"}
        text = "Of {start}, {person} gives {given}. How much is that in {item:s}?"
        told = [{"text": f"{text}.", "quantities": {"start": {"choices": [30]}}},
                {"text": text, "quantities": {"start": {"choices": [30], "as": "measure"}}}]  # fmt: skip
        schema["templates"]["train"] = told

    (schema,) = load_schemas(folder(tmp_path, changed(change))).values()
    assert [wording.quantities["start"].kind for wording in schema.wordings["train"]] == ["money", "measure"]


@pytest.mark.parametrize("text", ["{half", "[]", '{"name": "a", "name": "b"}', "\u0000"])
def test_files_that_are_not_one_json_object_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"arithmetic/x\.json"):
        load_schemas(folder(tmp_path, text))


def test_a_file_belongs_in_its_experts_folder_under_its_name(tmp_path: Path) -> None:
    root = folder(tmp_path, GOOD)
    (root / "arithmetic" / "gift.json").rename(root / "arithmetic" / "present.json")
    with pytest.raises(UserError, match="belongs in arithmetic/gift"):
        load_schemas(root)


@pytest.mark.parametrize(
    "vocabulary",
    [{"person": [5]}, {"person": [{"one": "Ann", "pronoun": "they"}]}, {"person": ["a", "a"]}, {"person": [""]}],
)
def test_a_broken_vocabulary_is_reported(tmp_path: Path, vocabulary: Any) -> None:
    with pytest.raises(UserError, match=r"vocab/words\.json: person"):
        load_schemas(folder(tmp_path, GOOD, vocabulary=vocabulary))


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no schemas"):
        load_schemas(tmp_path)


def test_families_are_chosen_by_name_id_or_expert() -> None:
    schemas = load_schemas()
    assert [schema.id for schema in select_schemas(["price_chain"], schemas)] == ["arithmetic/price_chain"]
    assert [schema.id for schema in select_schemas(["consume_then_sell"], schemas)] == [
        "arithmetic/consume_then_sell", "composition/consume_then_sell"]  # fmt: skip
    assert {schema.expert for schema in select_schemas(["percentage"], schemas)} == {"percentage"}
    assert select_schemas([], schemas) == list(schemas.values())
    with pytest.raises(UserError, match="nonsense"):
        select_schemas(["nonsense", "price_chain"], schemas)


def test_the_bundled_families_cover_every_expert() -> None:
    schemas = load_schemas().values()
    singles = [schema for schema in schemas if schema.expert != "composition"]
    assert len(singles) >= 20
    assert len(schemas) - len(singles) >= 4
    assert {schema.expert for schema in singles} == {
        "entity_track", "arithmetic", "rate_equation", "comparison", "percentage"}  # fmt: skip
    assert all(len(schema.wordings["train"]) >= 3 and len(schema.wordings["eval"]) >= 1 for schema in schemas)


def test_everyday_questions_come_in_many_wordings_that_name_what_they_compute() -> None:
    everyday = [schema for schema in load_schemas().values() if schema.group == "everyday"]
    wordings = [wording for schema in everyday for split in schema.wordings.values() for wording in split]
    assert len(everyday) >= 30
    assert len(wordings) >= 750
    assert not [wording for wording in wordings if re.search(r"var: (?:result|step[0-9])\b", "".join(wording.pieces))]


def test_families_from_elsewhere_have_the_bundled_words_and_those_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "arithmetic").mkdir()
    (tmp_path / "vocab").mkdir()
    (tmp_path / "vocab" / "mine.json").write_text(json.dumps({"rock": ["pebble"], "fruit": ["quince"]}))
    own = GOOD | {"slots": {"person": "person", "item": ["rock", "fruit"]}}
    (tmp_path / "arithmetic" / "gift.json").write_text(json.dumps(own))
    (schema,) = load_schemas(tmp_path).values()
    assert {word.one for word in schema.slots["item"]} == {"pebble", "quince"}, "a list of theirs takes ours' place"
    assert len(schema.slots["person"]) > 20
