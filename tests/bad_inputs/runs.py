"""Configurations, runs, adapters and sweeps: keys, figures and files that no run can be made of, or go on from."""

from typing import Any

from tests.bad_inputs.case import Case, edited, file, folder, run

_TRAIN = ("train --model {model} --max-seq-length 2048 --contamination [] --iters 1 --num-layers 1 --adapter-path out "
          "--data \"[{{source: synthetic, n: 4, schemas: [rate_equation]}}]\" ").replace("{{", "{").replace("}}", "}")  # fmt: skip
_ASK = 'ask "A box holds 12 eggs. How many are in 3 boxes?" --model {model} --adapter-path run'
_LORA = {"rank": 4, "scale": 2.0, "dropout": 0.0}
_BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "\n".join(
    f"k{n}: &{b} [{f'*{a},' * 10}]" for n, (a, b) in enumerate(zip("abcdefg", "bcdefgh", strict=True))
)


def _flag(name: str, flags: str, said: str, *made: Any) -> Case:
    return Case(f"train: {name}", _TRAIN + flags, said, made)


def _config(name: str, content: str | bytes, said: str, lines: int = 1) -> Case:
    return Case(f"configuration: {name}", "train -c c.yaml", said, file("c.yaml", content), lines=lines)


def _reward(name: str, content: str, said: str) -> Case:
    flags = "--reinforce.iters 1 --reinforce.reward-function f.py:f"
    return _flag(f"a reward function that {name}", flags, said, file("f.py", content))


def _adapter(name: str, said: str, **changes: Any) -> Case:
    return Case(f"adapter: {name}", _ASK, said, run(**changes))


RUNS = [
    _flag("epochs without end", "--epochs 1e24", "--epochs: input should be a valid integer"),
    _flag("a seed beyond all", "--seed 18446744073709551616", "--seed: input should be less than 18446744073709551616"),
    _flag("a rate of a million", "--learning-rate 1e6", "--learning-rate: input should be less than or equal to 1"),
    _flag("a rate of NaN", "--learning-rate nan", "--learning-rate: "),
    _flag("no layers", "--num-layers 0", "--num-layers: no layers would be trained; -1 is all of them"),
    _flag("layers below all", "--num-layers -2", "--num-layers: input should be greater than or equal to -1"),
    _flag("a batch of billions", "--batch-size 99999999999", "--batch-size: input should be at most"),
    _flag("three tokens", "--max-seq-length 3", "--max-seq-length: input should be greater"),
    _flag("embeddings adapted", "--lora-parameters.keys [model.embed_tokens]", "names model.embed_tokens"),
    _flag("a head adapted", "--lora-parameters.keys [lm_head]", "names lm_head"),
    _flag("an adapter to go on from that is none", "--resume-adapter-file nope", "resume_adapter_file: nope: no such file"),
    _flag("an adapter's path that is empty", '--resume-adapter-file ""', "--resume-adapter-file: the value is empty; null is none"),
    _flag("a rows' path that is empty", '--data ""', "--data '': is no file"),
    _flag("a suite that is none", "--eval-every 1 --eval-suite nope", "nope: no such file"),
    _flag("flags that are no YAML", '--data "[{source: synthetic"', "--data:1:20: not YAML"),
    _flag("a folder of others", "--adapter-path x", "x: is not empty, and no run", file("x/photo.jpg", "mine")),
    _flag("others overwritten", "--adapter-path x --overwrite", "x: is not a run of mlx-trace", file("x/photo.jpg", "mine")),
    _flag("a file in its place", "--adapter-path x", "x: is a file", file("x", "mine")),
    _flag("a file above it", "--adapter-path x/y", "x/y: .* cannot be written to", file("x", "mine")),
    _flag("a run that is there", "--adapter-path run", "run: holds a run already", run()),
    _flag("a folder to go on with that is none", "--resume --adapter-path nope", "nope: "),
    _reward("is no Python", "def f(:", "f.py: SyntaxError"), _reward("leaves", "raise SystemExit(3)", "f.py: SystemExit: 3"),
    _reward("takes nothing", "def f(): return 1", r"f.py:f is called with three arguments, .*, and takes \(\): too many"),
    _reward("takes four", "def f(a, b, c, d): return 1", r"takes \(a, b, c, d\): missing"),
    _reward("is a number", "f = 5", "f.py has no function 'f'"), _reward("is not there", "", "f.py has no function 'f'"),
    # configurations
    _config("NUL in a path", 'adapter_path: "a\\0b"', "adapter_path: holds NUL"),
    _config("NUL in a rows' path", 'data: [{source: file, path: "a\\0b"}]', r"data\.0\.path: holds NUL"),
    _config("half a character", 'prompt: {system: "\\ud800"}', r"prompt\.system: holds NUL or half a character"),
    _config("no path", 'adapter_path: ""', "adapter_path: the path is empty"),
    _config("a bomb of aliases", _BOMB, "its aliases and merge keys repeat more than"),
    _config("a bomb of merge keys", "a: &a {b: 1}\nc: {<<: [" + "*a, " * 3000 + "*a]}\n" * 1, "more than|there is no such key", 2),
    _config("nested without end", "[" * 100_000, "nested more than 50 deep"),
    _config("a number without end", "seed: " + "9" * 5000, "c.yaml: a number of 5,000 characters"),
    _config("a tag that makes objects", "model: !!python/object/apply:os.system ['touch ran']", "not YAML"),
    _config("escapes in a key", '"\\e[2J[red]": 1', r"␛\[2J\[red\]: there is no such key"),
    Case("configuration: a folder", "train -c d", "d: is a directory", folder("d")),
    Case("memory of a model that is a number", "memory -c c", "c:1:1: model: input should be a valid string", file("c", "model: 5")),
    # adapters
    _adapter("a model that is a number", "adapter_config.json: model: ", model=5),
    _adapter("a rank of a billion", r"lora_parameters\.rank: ", lora_parameters=_LORA | {"rank": 10**9}),
    _adapter("no rank", r"lora_parameters\.rank: field required", lora_parameters={"scale": 2.0}),
    _adapter("a scale of NaN", r"lora_parameters\.scale: ", lora_parameters=_LORA | {"scale": float("nan")}),
    _adapter("no settings of LoRA", "lora_parameters is missing", lora_parameters=...),
    _adapter("a type in words", "fine_tune_type: ", fine_tune_type="qlora"),
    _adapter("a prompt that is text", "prompt: input should be keys with values", prompt="chat"),
    _adapter("99 layers", "num_layers is 99, and there are 2", num_layers=99),
    _adapter("of another base", "was trained on another base", base_digest="0" * 32, base_rest="1" * 32),
    Case("adapter: empty weights", _ASK, "does not fit", [run(), file("run/adapters.safetensors", b"")]),
    Case("adapter: weights cut short", _ASK, "does not fit", [run(), edited("run/adapters.safetensors", lambda content: content[:100])]),
    Case("adapter: half a file of settings", _ASK, "adapter_config.json:1: not JSON", [run(), file("run/adapter_config.json", "{")]),
    Case("adapter: settings nested without end", _ASK, "adapter_config.json: .*too deep", [run(), file("run/adapter_config.json", "[" * 100_000)]),
    Case("adapter: a device", 'ask "5 eggs" --adapter-path /dev/null', "/dev/null: no such adapter directory"),
    Case("fuse: an adapter of another base", "fuse --model {model} --adapter-path run --save-path f", "was trained on another base", run(base_digest="0" * 32, base_rest="1" * 32)),
    # sweeps
    Case("sweep: nothing", "sweep s", "s: is no sweep", file("s", "")),
    Case("sweep: bytes", "sweep s", "s: not UTF-8 text", file("s", b"\xff")),
    Case("sweep: no measure", "sweep s", "s: measure: field required", file("s", "base: tiny\narms: {}")),
    Case("sweep: an arm that cannot be", "sweep s", r"s:2:17: arms\.\.\./x\.iters: ", file("s", 'base: tiny\narms: {"../x": {iters: -1}}\nmeasure: [{data: synthetic}]'), lines=None),
]  # fmt: skip
