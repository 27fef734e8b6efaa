"""Write the references from the code: every key of a configuration, and every command with its flags.

python eval/reference.py     # writes configs/README.md and mlx_trace/cli/README.md; make reference
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx_trace
from mlx_trace.cli.main import COMMANDS, make_parser
from mlx_trace.config import LINEAR, RENAMED, Config
from mlx_trace.config_reinforce import PRESETS
from mlx_trace.config_sources import MOST

ROOT = Path(__file__).resolve().parents[1]
MADE = "<!-- written by `make reference` from the code; changes by hand are lost -->\n"
SHARED = 3  # commands that have an option in common from which it is shown once
SCHEMA = Config.model_json_schema()
SECTIONS = {  # a key that holds a section: the section's model
    "": "", "lora_parameters": "LoraParameters", "prompt": "Prompt", "decoding": "Decoding",
    "reinforce": "ReinforceConfig", "reinforce.rewards": "Rewards",
}  # fmt: skip
SOURCES = {"synthetic": "SyntheticSource", "compiled": "CompiledSource", "file": "FileSource"}
BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
NAMES = {"integer": "whole number", "boolean": "true or false", "number": "number", "null": "null", "object": "map"}
CONFIGURATION = f"""
# Configurations

A run is one YAML file: `mlx-trace train -c FILE`, or the name of a bundled one. What it leaves out has its default;
`mlx-trace init` writes one from four questions, and `mlx-trace train -c FILE --plan` says what comes of it. Each key is
a flag of `mlx-trace train`, too, with hyphens (`--reinforce.group-size 8`), which goes before the file. A key that
there is not is an error. Whole numbers are at most {MOST:,}, but for `seed`.

Each bundled file begins with what it trains, and its memory and time on Macs ([all of them](../README.md#what-fits)).
"""
COMMAND_LINE = """
# Commands

`mlx-trace COMMAND --help` says the same in the terminal. Exit codes: 0 done; 1 the command's own no, such as no answer;
2 a mistake in what it was given, told in a line on stderr; 130 Ctrl-C.
"""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if (package := Path(mlx_trace.__file__).resolve().parents[1]) != ROOT:
        raise SystemExit(f"mlx_trace is that of {package}, and the pages are of {ROOT}: PYTHONPATH={ROOT}")
    for name, text in pages().items():
        changed = not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != text
        (ROOT / name).write_text(text, encoding="utf-8")
        print(f"{name}: {'written' if changed else 'as it was'}")


def pages() -> dict[str, str]:
    """Return each page by its name in the repository."""
    return {"configs/README.md": configuration(), "mlx_trace/cli/README.md": command_line()}


def configuration() -> str:
    """Return the reference of a configuration's keys."""
    parts = [MADE + CONFIGURATION]
    for key, name in SECTIONS.items():
        title = f"`{key}`" if key else "Top level"
        parts.append(f"## {title}\n\n{table(properties(name), f'{key}.' if key else '')}")
        parts += {"lora_parameters": [f"`keys` may be {', '.join(f'`{name}`' for name in LINEAR)}."],
                  "reinforce": [presets()]}.get(key, [])  # fmt: skip
    sources = "## Sources of `data`\n\nAlso of `reinforce.data`; on the command line a file's name is enough."
    parts += [sources, *(f"### `source: {name}`\n\n{model(kind)['description']}\n\n{table(properties(kind), '')}"
                         for name, kind in SOURCES.items())]  # fmt: skip
    renamed = "\n".join(f"| `{old}` | `{new}` |" for old, new in RENAMED.items())
    parts.append(f"## Earlier names\n\nThese are still read.\n\n| then | now |\n|---|---|\n{renamed}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def model(name: str) -> dict[str, Any]:
    return SCHEMA["$defs"][name] if name else SCHEMA


def properties(name: str) -> dict[str, Any]:
    return model(name)["properties"] | {key: {"required": True} | model(name)["properties"][key]
                                        for key in model(name).get("required", ())}  # fmt: skip


def table(keys: dict[str, Any], prefix: str) -> str:
    """Return a table of keys: what they may be, their default, and what they mean."""
    lines = ["| key | value | default | |", "|---|---|---|---|"]
    for key, field in keys.items():
        if (section := prefix + key) in SECTIONS:
            kind, default = f"[section](#{section.replace('.', '')})", ""
        else:
            kind, default = value_of(field), "required" if "required" in field else code(field.get("default"))
        lines.append(f"| `{key}` | {kind} | {default} | {escaped(field.get('description', ''))} |")
    return "\n".join(lines)


def value_of(field: dict[str, Any]) -> str:
    """Return what a key may be, in words, with its range."""
    if "enum" in field or "const" in field:
        return ", ".join(f"`{word}`" for word in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        return " or ".join(value_of(kind) for kind in field["anyOf"])
    if "oneOf" in field:
        return "[source](#sources-of-data)"
    kind, bounds = field["type"], [f"{word} {shown(field[name])}" for name, word in BOUNDS.items() if name in field]
    if kind == "array":
        return f"list of {value_of(field['items'])}{', not empty' if field.get('minItems') else ''}"
    if kind == "object":
        keys = field.get("propertyNames", {}).get("enum")
        of = f" from {value_of(field['propertyNames'])}" if keys else ""
        return f"map{of} to {value_of(field['additionalProperties'])}"
    if kind == "string":
        return "path" if field.get("format") == "path" else "text" + (", not empty" if field.get("minLength") else "")
    return " ".join([NAMES[kind], *bounds])


def shown(bound: float) -> str:
    return "2^64" if bound == 1 << 64 else f"{bound:,.0f}" if bound == int(bound) else f"{bound:g}"


def code(default: Any) -> str:
    """Return a default as a configuration says it."""
    if isinstance(default, list):
        default = [given(one) if isinstance(one, dict) else one for one in default]
    text = default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)
    return f"`{text}`" if text else '`""`'


def given(source: dict[str, Any]) -> dict[str, Any]:
    """Return a source without what is its default anyway, its kind first."""
    keys = properties(SOURCES[source["source"]])
    told = {key: value for key, value in source.items() if keys[key].get("default") != value}
    return {"source": told.pop("source")} | told


def escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def presets() -> str:
    """Return what each algorithm means."""
    rows = [f"| `{name}` | {', '.join(f'`{key}: {value}`' for key, value in keys.items())} |"
            for name, keys in PRESETS.items()]  # fmt: skip
    return "\n".join(
        ["An `algorithm` sets these, where a file does not:", "", "| algorithm | sets |", "|---|---|", *rows]
    )


def command_line() -> str:
    """Return the reference of commands and their flags; those that several have in common stand at the end."""
    rows = {name: list(options(name)) for name in COMMANDS}
    counts = Counter(row for own in rows.values() for row in own)
    common = [row for row, times in counts.items() if times >= SHARED]
    listed = "\n".join(f"| [`{name}`](#{name}) | {escaped(purpose)} |" for name, (_, purpose, _) in COMMANDS.items())
    parts = [MADE + COMMAND_LINE, f"| command | |\n|---|---|\n{listed}"]
    for name, (_, purpose, example) in COMMANDS.items():
        own = [row for row in rows[name] if row not in common]
        shared = [f"`{row[0]}`" for row in rows[name] if row in common]
        parts.append(f"## {name}\n\n{purpose[0].upper()}{purpose[1:]}.\n\n    {example}")
        parts += [flag_table(own)] if own else []
        parts += (
            ["and `--KEY X` for [every key of a configuration](../../configs/README.md)."] if name == "train" else []
        )
        parts += [f"and, [as elsewhere](#shared-flags), {', '.join(shared)}."] if shared else []
    parts.append(f"## Shared flags\n\n{flag_table(common)}")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


Row = tuple[str, str, str]


def options(name: str) -> Iterator[Row]:
    """Yield flag and value, default and meaning of each option of a command."""
    for action in make_parser(name)._actions:
        if action.help == argparse.SUPPRESS or action.dest.startswith(("key:", "help")):
            continue
        value = action.metavar or "|".join(map(str, action.choices or ())) or ("X" if action.nargs != 0 else "")
        value += " …" if action.nargs in ("+", "*") and value else ""
        flags = ", ".join([*action.option_strings[:-1], f"{''.join(action.option_strings[-1:])} {value}".strip()])
        is_required = action.required and action.nargs not in ("*", "?")
        has_default = isinstance(action.default, str | int | float | Path) and action.default is not False
        default = "required" if is_required else str(action.default) if has_default else ""
        yield flags.replace("|", "\\|"), default, meaning(action, default)


def meaning(action: argparse.Action, default: str) -> str:
    """Return an option's help, without its default, which has a column."""
    text = (action.help or "") % (vars(action) | {"prog": "mlx-trace"})
    if default:
        for said, instead in ((f" (default {default})", ""), (f"(default {default}: ", f"({default}: "),
                              (f"default {default}; ", "")):  # fmt: skip
            text = text.replace(said, instead)
    return escaped(text)


def flag_table(rows: list[Row]) -> str:
    lines = [f"| `{flag}` | {f'`{default}`' if default not in ('', 'required') else default} | {text} |"
             for flag, default, text in rows]  # fmt: skip
    return "\n".join(["| flag | default | |", "|---|---|---|", *lines])


if __name__ == "__main__":
    main()
