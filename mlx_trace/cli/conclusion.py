"""What an evaluation comes to: its records written, its counts printed or told as JSON, and kept beside the records."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlx_trace.cli.asking import NEAREST, Evaluation, MeasuredWay
from mlx_trace.cli.counts import beside, beside_table, cost_table
from mlx_trace.cli.output import show_json
from mlx_trace.cli.records import file_of, write_records, write_summary
from mlx_trace.cli.screen import Screen
from mlx_trace.cli.ways import describe, describe_sampling, sides
from mlx_trace.config import STRATA_KEY
from mlx_trace.errors import UserError
from mlx_trace.files import is_stream
from mlx_trace.numbered import numbered

if TYPE_CHECKING:
    from mlx_trace.evaluate.costs import Cost
    from mlx_trace.evaluate.nearest import Examples

Costs = Mapping[str, Sequence["Cost"]]  # by the name of the way to ask


def conclude(evaluation: Evaluation, asked: Sequence[MeasuredWay], examples: "Sequence[Examples] | None") -> int:
    """Write the records, print the counts, and write them beside the records; UserError where that fails."""
    from mlx_trace.evaluate.costs import costs

    options, faults = evaluation.options, list[str]()
    for measured in asked if options.output is not None else ():
        unwritten = write_records(file_of(options.output, measured.asked.name), measured.counts.rows)
        faults += unwritten.faults if unwritten is not None else ()
        if measured.kept and unwritten is None:
            measured.kept.done()
    spent = {measured.asked.name: costs(measured.counts.records, measured.asked.way.repair) for measured in asked}
    report = _as_json(evaluation, asked, spent) | _looks(evaluation) | _shown(evaluation, examples)
    if options.json:
        show_json(report)
    else:
        _print(evaluation, asked, spent, report)
    if options.output is not None and not is_stream(options.output) and not faults:
        write_summary(options.output, report)
    if faults:
        raise UserError(*faults)
    return 0


def _as_json(evaluation: Evaluation, asked: Sequence[MeasuredWay], spent: Costs) -> dict[str, Any]:
    """Return the counts as one object; eval/evaluation.md says what its keys mean."""
    main, *others = asked
    by = STRATA_KEY[evaluation.options.by]
    report = evaluation.described(main.asked) | main.counts.as_json(by)
    if _costs_vary(spent):
        report["costs"] = [cost.as_json() for cost in spent[""]]
    if others:
        report["against"] = {other.asked.name: _other(other, main, by, spent) for other in others}
    return report


def _other(other: MeasuredWay, main: MeasuredWay, by: str, spent: Costs) -> dict[str, Any]:
    """Return what was measured in another way, and how the main one differs from it."""
    differs = {kind: compared.as_json() for kind, compared in beside(main.counts, other.counts).items()}
    costs = [cost.as_json() for cost in spent[other.asked.name]]
    return {**other.asked.way.as_json(), **other.counts.as_json(by), "costs": costs, "difference": differs}


def _costs_vary(spent: Costs) -> bool:
    return sum(map(len, spent.values())) > 1


def _looks(evaluation: Evaluation) -> dict[str, int]:
    """Note a look at a set that is for final numbers, and return how many there were."""
    from mlx_trace.evaluate.looks import is_final, look

    options, drawn = evaluation.options, evaluation.drawn
    if not (options.final or is_final(options.data)):
        return {}
    adapter = None if options.adapter_path is None else str(options.adapter_path)
    told = {"data": options.data, "model": evaluation.base.name, "adapter": adapter, "n": len(drawn.problems),
            "of": drawn.size}  # fmt: skip
    return {"looks": look(drawn.digest, told)}


def _shown(evaluation: Evaluation, examples: "Sequence[Examples] | None") -> dict[str, Any]:
    """Return how many examples were shown, and what they did to the prompts."""
    if examples is None:
        return {}
    options, problems, n = evaluation.options, evaluation.drawn.problems, len(examples)
    wanted = options.nearest or NEAREST
    bare = map(len, evaluation.prompter.many_ids([problem.question for problem in problems]))
    return {"examples": {
        "file": str(options.examples_from), "nearest": wanted,
        "shown": round(sum(len(own.names) for own in examples) / n, 2),
        "fewer": sum(len(own.names) < wanted for own in examples),
        "no_room": sum(own.has_no_room for own in examples),
        "prompt_tokens": round(sum(own.prompt_tokens for own in examples) / n, 1), "without": round(sum(bare) / n, 1),
    }}  # fmt: skip


# --- for a person ------------------------------------------------------------------------------------------------


def _print(evaluation: Evaluation, asked: Sequence[MeasuredWay], spent: Costs, report: Mapping[str, Any]) -> None:
    shown, (main, *others) = Screen(), asked
    shown.print(main.counts.table(f"{evaluation.options.data}, {describe(main.asked.way.decoding)}"))
    for note in main.counts.notes:
        shown.print(note)
    if causes := main.counts.causes:
        told = ", ".join(f"{cause} {often}" for cause, often in causes.items())
        shown.print(f"why the others are wrong: {told}")
    for other in others:
        title = f"\nagainst {other.asked.name}: {other.asked}"
        shown.print(beside_table(title, sides(main.asked, other.asked), beside(main.counts, other.counts)))
    if _costs_vary(spent):
        shown.print()
        shown.print(cost_table(spent))
    for line in _notes(evaluation, report):
        shown.print(line)
    shown.print(_took(evaluation, main), style="dim")


def _notes(evaluation: Evaluation, report: Mapping[str, Any]) -> list[str]:
    """Return lines on the sample, the examples and the looks, where there are any."""
    lines = [f"a sample of {evaluation.drawn}"] if evaluation.drawn.seed is not None else []
    if told := report.get("examples"):
        shown = (
            "{shown:g} examples a question from {file}; prompts of {prompt_tokens:,.0f} tokens, without {without:,.0f}"
        )
        fewer = "; {fewer} of the questions have fewer than {nearest}, {no_room} of them for want of room"
        lines.append(shown.format(**told) + (fewer.format(**told) if told["fewer"] else ""))
    if often := report.get("looks"):
        times = "once" if often == 1 else f"{often} times"
        lines.append(f"{evaluation.options.data} is for final numbers: looked at {times} on this machine so far")
    return lines


def _took(evaluation: Evaluation, main: MeasuredWay) -> str:
    options, params = evaluation.options, main.asked.way.params
    adapter = f" with {options.adapter_path}" if options.adapter_path is not None else ""
    told = "{tokens:,} tokens ({sampled:,} sampled) in {seconds:.0f} s; {cut} cut off"
    sampling = f", {describe_sampling(params)}" if params.temperature else ""
    spent = told.format(cut=numbered(int(main.counts.spent()["truncated"]), "reply"), **main.counts.spent())
    return f"{evaluation.base.name}{adapter}: {spent}{sampling} at {options.max_tokens} tokens"
