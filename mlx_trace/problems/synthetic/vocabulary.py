"""The words that problem families draw from: vocab/*.json, lists of nouns and of people with their pronouns.

Takes a folder; every fault of every file goes to a list.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlx_trace.errors import UserError
from mlx_trace.files import read_json
from mlx_trace.problems import english

PRONOUNS: Final = {
    "he": {"they": "he", "them": "him", "their": "his", "theirs": "his", "themself": "himself"},
    "she": {"they": "she", "them": "her", "their": "her", "theirs": "hers", "themself": "herself"},
}


@dataclass(frozen=True, slots=True)
class Word:
    """An entry of the vocabulary: its singular, its plural where the library has it wrong, a person's pronoun."""

    one: str
    irregular: str | None = None
    pronoun: str | None = None

    @property
    def many(self) -> str:
        """Return the plural; found when first asked for, since loading the library takes seconds."""
        return self.irregular or english.plural(self.one)


Vocabulary = dict[str, tuple[Word, ...]]


def load_vocabulary(folder: Path, faults: list[str]) -> Vocabulary:
    """Read vocab/*.json: lists of nouns, of {one, many}, or of {one, pronoun}."""
    vocabulary: Vocabulary = {}
    for path in sorted(folder.glob("*.json")):
        try:
            lists = read_json(path)
        except UserError as error:
            faults += error.faults
            continue
        for name, entries in lists.items() if isinstance(lists, dict) else [("the file", None)]:
            where = f"{path.parent.name}/{path.name}: {name}"
            if not isinstance(entries, list):
                faults.append(f"{where}: not a list of words")
                continue
            words = [_word(entry, f"{where}.{index}", faults) for index, entry in enumerate(entries)]
            if name in vocabulary:
                faults.append(f"{where}: this list is in another file too")
            if len({word.one for word in words}) < len(words):
                faults.append(f"{where}: a word stands twice")
            vocabulary[name] = tuple(words)
    return vocabulary


def _word(entry: Any, where: str, faults: list[str]) -> Word:
    if isinstance(entry, str) and entry:
        return Word(entry)
    if isinstance(entry, dict) and isinstance(entry.get("one"), str) and set(entry) <= {"one", "many", "pronoun"}:
        if entry.get("pronoun") not in (None, *PRONOUNS):
            faults.append(f"{where}: pronoun is he or she, not {entry['pronoun']!r}")
        return Word(entry["one"], entry.get("many"), entry.get("pronoun"))
    faults.append(f"{where}: a word is text, or an object with one and many or pronoun")
    return Word("")
