"""What is wrong with one way to ask a family's question: names that are not there, forms that do not fit, numbers that
are written out.

Takes a template and what the family has; yields a line for every fault. Knows no files.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.numbers import spell
from mlx_trace.problems.synthetic.schema_file import Quantity
from mlx_trace.problems.synthetic.template import (
    QUANTITY_FORMS,
    SLOT_FORMS,
    Field,
    Template,
    certain_names,
    fields_of,
    literal_texts,
    names_in,
)
from mlx_trace.problems.synthetic.vocabulary import PRONOUNS, Word


@dataclass(frozen=True, slots=True)
class TemplateCheck:
    """What a template may name: the family's quantities, its slots with their words, and numbers that are constants."""

    quantities: Mapping[str, Quantity]
    slots: Mapping[str, tuple[Word, ...]]
    constants: Collection[Fraction]

    def faults(self, template: Template, used: set[str]) -> Iterator[str]:
        """Yield what is wrong with a template whose trace uses some references."""
        for field in fields_of(template):
            yield from self._of_field(field)
        stated = certain_names(template)
        for name in sorted(self.quantities):
            if name not in stated and (name in used or self.quantities[name].distractor):
                yield f"the question does not always state {name}"
        for name in sorted({reference.partition(":")[0] for reference in used} & set(self.slots) - stated):
            yield f"the question does not always name {name}, which the trace uses"
        for text in literal_texts(template):
            for mention in find_numbers(text):
                if set(self.constants).isdisjoint(mention.readings):
                    yield (f"'{text[mention.start : mention.end]}' is a fixed number ({spell(mention.value)}); numbers "
                           "come from quantities, or are constants")  # fmt: skip

    def _of_field(self, field: Field) -> Iterator[str]:
        quantities, slots, pronouns = self.quantities, self.slots, PRONOUNS["he"]
        for name in sorted(names_in(field) - set(quantities) - set(slots)):
            yield f"{{{name}}} is neither a quantity nor a slot"
        if field.name in quantities and field.form not in QUANTITY_FORMS:
            yield f"{field.name}:{field.form} is not a form; those are {', '.join(QUANTITY_FORMS[1:])}"
        if field.name in slots and (field.noun or field.form not in (*SLOT_FORMS, *pronouns)):
            yield f"{field.name}:{field.form or field.noun} is not a form of a slot"
        if field.form in pronouns and any(word.pronoun is None for word in slots.get(field.name, ())):
            yield f"{field.name} has words without pronouns"
