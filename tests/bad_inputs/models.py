"""Models' folders and files: figures, weights, tokenizers and templates that are damaged, or meant ill."""

import json
import struct
from collections.abc import Callable
from typing import Any

import mlx.core as mx

from tests.bad_inputs.case import Case, Ground, Make, file, folder, link, merged, model, model_file, pipe, without

_ASK = (
    'ask "A box holds 12 eggs. How many are in 3 boxes?" --adapter-path none --constraint none --max-tokens 2 --model '
)
_CODE = "import pathlib\npathlib.Path('ran').touch()\n"
_WEIGHTS = "m/model.safetensors"
_OWN = without("m/chat_template.jinja")


def _figure(name: str, said: str, **config: Any) -> Case:
    return Case(f"config.json: {name}", _ASK + "m", said, model(**config))


def _file(name: str, said: str, path: str, content: str | bytes) -> Case:
    return Case(f"{path}: {name}", _ASK + "m", said, model_file(path, content))


def _template(name: str, text: str | bytes, said: str = "the model's chat template fails: ") -> Case:
    return Case(f"template: {name}", _ASK + "m", said, model_file("chat_template.jinja", text))


def _header(content: Any) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + b"1234"


def _tensor(**changes: Any) -> bytes:
    return _header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}})


def _edit_weights(edit: Callable[[mx.array], mx.array]) -> Make:
    def make(ground: Ground) -> None:
        place = str(ground.folder / _WEIGHTS)
        mx.save_safetensors(place, {name: edit(value) for name, value in mx.load(place).items()})

    return make


def _tokenizer(**changes: Any) -> Make:
    return lambda ground: merged(ground.folder / "m" / "tokenizer_config.json", changes)


MODELS = [
    _figure("no heads", "num_attention_heads: input should be greater", num_attention_heads=0),
    _figure("heads that cannot be shared", "cannot share 3", num_key_value_heads=3),
    _figure("heads of an odd width", "must be even", head_dim=7),
    _figure("a million layers", "num_hidden_layers: input should be less", num_hidden_layers=1_000_000),
    _figure("a layer too many", "the model cannot be loaded: Missing", num_hidden_layers=3),
    _figure("a layer too few", "the model cannot be loaded: Received", num_hidden_layers=1),
    _figure("a width in words", "hidden_size: input should be a valid integer", hidden_size="x"),
    _figure("a width of thirty digits", "hidden_size: input should be less", hidden_size=10**30),
    _figure("fewer tokens than embeddings", "Expected shape", vocab_size=10),
    _figure("scaling that is a number", "rope_scaling: input should be a valid dictionary, got 5", rope_scaling=5),
    _figure("a base of NaN", "rope_theta: ", rope_theta=float("nan")),
    _figure("a norm below zero", "rms_norm_eps: ", rms_norm_eps=-1),
    _figure("two positions", "and m was made for 2", max_position_embeddings=2),
    _figure("quantised by half", "quantization.group_size: field required", quantization={"bits": 4}),
    _figure("no type", "a model of type None", model_type=...),
    _figure("a type of markup", r"a model of type '\[red\]'", model_type="[red]"),
    _figure("code of a network", "is code that would be run", model_file="../x.py"),
    _file("nested without end", "m/config.json: not JSON as it is read: too deep", "config.json", "[" * 100_000),
    _file("a number without end", "a number is too long", "config.json", f'{{"hidden_size": {"9" * 5000}}}'),
    _file("a key twice", "'model_type' stands twice", "config.json", '{"model_type": 1, "model_type": 2}'),
    _file("bytes", "m/config.json: not UTF-8 text", "config.json", b"\xff"),
    _file("half", "m/generation_config.json:1: not JSON", "generation_config.json", "["),
    Case("config.json: a pipe", _ASK + "m", "it has no config.json", [model(), without("m/config.json"), pipe("m/config.json")]),
    # weights
    _file("empty", "the model cannot be loaded", "model.safetensors", b""),
    _file("bytes", "the model cannot be loaded", "model.safetensors", b"\xff" * 100),
    _file("a header that is a list", "the model cannot be loaded", "model.safetensors", _header([1])),
    _file("a tensor that is a number", "the model cannot be loaded", "model.safetensors", _header({"a": 5})),
    _file("a shape beyond the file", "invalid data offsets", "model.safetensors", _tensor(shape=[1 << 62])),
    _file("an end beyond the file", "invalid data offsets", "model.safetensors", _tensor(data_offsets=[0, 1 << 60])),
    _file("a type that is none", "unsupported dtype", "model.safetensors", _tensor(dtype="X9")),
    Case("weights: NaN", _ASK + "m", "is no finite number", [model(), _edit_weights(lambda value: value * float("nan"))]),
    Case("weights: whole numbers", _ASK + "m", "the model cannot be loaded", [model(), _edit_weights(lambda value: value.astype(mx.int32))]),
    Case("weights: other shapes", _ASK + "m", "Expected shape", [model(), _edit_weights(lambda value: value[:-1])]),
    Case("weights: NaN fused", "fuse --model m --adapter-path none --dequantize --save-path f", "is no finite number", [model(), _edit_weights(lambda value: value * float("nan"))]),
    Case("weights: none", _ASK + "m", r"no model\*\.safetensors", [model(), without(_WEIGHTS)]),
    Case("weights: a pickle", _ASK + "m", "other weight formats are not read", [model(), without(_WEIGHTS), file("m/pytorch_model.bin", b"\x80\x04cposix\nsystem\n(S'touch ran'\ntR.")]),
    Case("weights: a pipe", _ASK + "m", "m/model.safetensors: is no file", [model(), without(_WEIGHTS), pipe(_WEIGHTS)]),
    Case("weights: a folder", _ASK + "m", "m/model.safetensors: is no file", [model(), without(_WEIGHTS), folder(_WEIGHTS)]),
    Case("weights: a device", _ASK + "m", "m/model.safetensors: is no file", [model(), without(_WEIGHTS), link(_WEIGHTS, "/dev/zero")]),
    Case("weights: a link to nowhere", _ASK + "m", "m/model.safetensors: leads nowhere", [model(), without(_WEIGHTS), link(_WEIGHTS, "nope")]),
    # names
    Case("a folder that is no model", _ASK + "..", r"\.\.: not a model directory"),
    Case("a web address", _ASK + "https://huggingface.co/x/y", "there is no model"),
    Case("a name of markup", _ASK + '"[red]x[/b]"', r"there is no model '\[red\]x\[/b\]'"),
    Case("a name with spaces and letters", _ASK + '"ü m/../ü m"', "fails: ", [model_file("chat_template.jinja", "{{ 1/0 }}", "ü m")]),
    Case("chat with no model", "chat --model nope", "there is no model 'nope'", stdin=b"5 eggs\n"),
    Case("memory of no model", "memory --model nope", "there is no model 'nope'"),
    Case("memory of no heads", "memory --model m", "num_attention_heads", model(num_attention_heads=0)),
    # GGUF
    Case("GGUF: a shopping list", _ASK + "x.gguf", "not a GGUF file", file("x.gguf", "milk, eggs")),
    Case("GGUF: its first bytes", _ASK + "x.gguf", "x.gguf: ", file("x.gguf", b"GGUF\3\0\0\0")),
    Case("GGUF: more tensors than bytes", _ASK + "x.gguf", "x.gguf: ", file("x.gguf", struct.pack("<4sIQQ", b"GGUF", 3, 1 << 60, 0) + b"\0" * 64)),
    Case("GGUF: a pipe", _ASK + "x.gguf", "not an ordinary file", pipe("x.gguf")),
    Case("GGUF: absent", _ASK + "x.gguf", "no such file"),
    # tokenizers
    _file("empty", "its tokenizer cannot be loaded", "tokenizer.json", ""),
    _file("a pickle", "its tokenizer cannot be loaded", "tokenizer.json", b"\x80\x04."),
    _file("nested without end", "its tokenizer cannot be loaded", "tokenizer.json", "[" * 100_000),
    _file("a number", "not an object with a tokenizer's settings", "tokenizer_config.json", "5"),
    _file("half", "m/tokenizer_config.json:1: not JSON", "tokenizer_config.json", "{"),
    Case("tokenizer: an end that is a number", _ASK + "m", "its tokenizer cannot be loaded", [model(), _tokenizer(eos_token=5)]),
    Case("tokenizer: code", _ASK + "m", "--trust-remote-code runs it", [model(), file("m/x.py", _CODE), _tokenizer(tokenizer_class="Own", auto_map={"AutoTokenizer": ["x.Own", None]}), without("m/tokenizer.json")]),
    Case("template: a number", _ASK + "m", "chat template is no text, but of the type int", [model(), _OWN, _tokenizer(chat_template=5)]),
    # templates
    _template("half", "{% for m in messages %}{{ m.content }}"),
    _template("without the question", "hello", "leaves the question out"),
    _template("none", "", "the model has no chat template"),
    _template("bytes", b"\xff\xfe", "its tokenizer cannot be loaded"),
    _template("escapes", '{{ raise_exception("\x1b[2J[red]no[/b]") }}', r"fails: ␛\[2J\[red\]no\[/b\]"),
    _template("divided by zero", "{{ 1/0 }}"),
    _template("behind itself", "{{ messages[0].content.__class__.__mro__ }}", "unsafe"),
    _template("globals", "{{ cycler.__init__.__globals__ }}", "unsafe"),
    _template("another file", '{% include "/etc/passwd" %}'),
    _template("300 million letters", "{{ 'A' * 300000000 }}"),
    _template("a list of a billion", "{{ [1] * 10**9 }}"),
    _template("nested loops", "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}"),
    _template("doubling", '{% set ns = namespace(x="a") %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}'),
    _template("itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
    _template("a power of powers", "{{ 9 ** (9 ** 9) }}", "a number that is too large"),
    _template("a width of a billion", "{{ '%1000000000d' % 5 }}"),
    _template("a wide format", "{{ '{:>1000000000}'.format(5) }}"),
    _template("a date of a number", "{{ strftime_now(5) }}"),
    _template("parentheses", "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}"),
]  # fmt: skip
