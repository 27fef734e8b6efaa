"""A module imports only what stands above it: the order of DESIGN, walked through every import there is."""

import ast
from pathlib import Path

import pytest

import mlx_trace

PACKAGE = Path(mlx_trace.__file__).parent

# From the ground up. A folder's entries are in order too; cli may import anything but its own siblings' commands.
ORDER = """
errors notice setting json_text called resources run_files files yaml_text faults destination numbered times folders seeds blas background hub_access config_sources config_decoding config_reinforce config_serve config other_words config_file
language.numbers language.number_words language.signs language.cardinals language.digits language.mentions language.amounts language.knowledge language.measures language.steps language.canonical language.comments language.said language.outcome language.experts language.syntax language.solver language.objection language.ledger language.grade
problems.hub_data problems.rows problems.fields problems.problem problems.english problems.sentences problems.synthetic.expression problems.synthetic.vocabulary problems.skeleton problems.synthetic.template problems.synthetic.schema_file problems.synthetic.template_check problems.synthetic.schema problems.synthetic.generator
problems.split problems.gsm8k
problems.compile.words problems.compile.expression problems.compile.items problems.compile.algebra problems.compile.equations problems.compile.formula
problems.compile.nouns problems.compile.node problems.compile.evidence problems.compile.choice problems.compile.grounding problems.compile.graph problems.compile.context problems.compile.kinds problems.compile.names problems.compile.asked problems.compile.result_names problems.compile.told_results
problems.compile.route problems.compile.emit problems.compile.decide problems.compile.stand_in problems.compile.doubt problems.compile.compiler problems.calculations problems.comments problems.one_part problems.as_told problems.forms
problems.audit problems.variants.sense problems.variants.slots problems.variants.retell problems.variants.tell problems.distract problems.mixture problems.contamination problems.diversity
model.config_json model.remembered model.gguf.header model.gguf.rope model.gguf.architecture model.gguf.names model.gguf.values model.gguf.weights model.gguf.patterns model.gguf.pieces model.gguf.near model.gguf.tokenizer model.gguf.convert model.gguf.describe model.gguf.write
model.precision memory.macs memory.shape model.weights model.fingerprint model.hub model.package_index model.named model.bursts model.head model.base model.adapter model.start model.peft model.counting model.jinja model.prompts model.chat_template model.elementwise model.layer model.layers model.exchange memory.predict memory.duration memory.plan memory.recipe memory.published model.inventory
decode.grammar.vocabulary decode.grammar.shortest decode.grammar.saying decode.grammar.rules decode.grammar.writing decode.grammar.spelling decode.grammar.automaton decode.grammar.follow decode.cache decode.forward decode.params decode.episode decode.sampler decode.scheduler decode.engine decode.decoder
evaluate.stats evaluate.losses evaluate.strata evaluate.suites evaluate.looks evaluate.computation evaluate.usage evaluate.vote evaluate.causes evaluate.way evaluate.repair evaluate.nearest evaluate.record evaluate.evaluate evaluate.polled evaluate.counted evaluate.costs evaluate.kept evaluate.compared evaluate.records
evaluate.report.training evaluate.report.curves evaluate.report.graph evaluate.report.layout evaluate.report.gallery evaluate.report.figures evaluate.report.markdown evaluate.report.page
tracking.tracker tracking.trackers tracking.tracking
train.rl.advantages train.run_dir train.resuming train.checkpoint train.saved_plan train.ranks train.metrics train.collapse train.tempo train.samples train.validation train.schedule train.interrupt train.loop train.learner train.choices train.examples train.activation_cache train.sft train.gold_loss train.rl.reward train.rl.rollout train.rl.packing train.rl.measures train.rl.loss train.rl.reference train.rehearse train.rl.reinforce train.masked train.gather train.work train.run train.tracked train.probe
tiny.text tiny.tokenizer tiny.first_weights tiny.pretrain
explain fidelity fuse card push modelfile llama_cpp starter chat api.arguments api.quiet api.html api.reply api.solution api.loading api.model api.problems api.evaluating api.trained api.training serve.address serve.stops serve.parameters serve.inquiry serve.worker serve.answers serve.ticket serve.completion serve.log serve.page serve.hosts serve.app serve.run sweep.file sweep.processes sweep.runs sweep.ready sweep.outcomes
cli.output cli.screen cli.progress cli.options cli.ledger cli.solve cli.problems cli.audit cli.compile cli.memory cli.macs cli.plan cli.init cli.train cli.ways cli.counts cli.gold_loss cli.records cli.explain cli.asking cli.conclusion cli.replies cli.samples cli.plot cli.evaluate cli.compare cli.report cli.sweep cli.fuse cli.exchange cli.push cli.reply cli.paint cli.frame cli.graph cli.live cli.history cli.keyboard cli.talk cli.commands cli.chat cli.ask cli.serve cli.demo cli.tiny cli.doctor cli.completion
cli.main __main__
""".split()
MOST_LINES, MOST_OF_A_FUNCTION = 300, 40
PURE = ("language", "problems")  # these import no MLX, and nothing that does


def modules() -> list[str]:
    found = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return sorted(".".join(path.parts) for path in found if path.name != "__init__")


def imports(module: str) -> set[str]:
    """Return the full names of what a module imports, at whatever depth in it."""
    tree = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def own(module: str) -> set[str]:
    """Return which modules of the package a module imports."""
    inside = {name.removeprefix("mlx_trace.") for name in imports(module) if name.startswith("mlx_trace.")}
    return {name for name in inside if name in ORDER}


def test_every_module_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == modules()


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_what_stands_above_it(module: str) -> None:
    above = set(ORDER[: ORDER.index(module)])
    assert own(module) <= above, f"{module} imports {own(module) - above} from below it"


@pytest.mark.parametrize("module", [name for name in ORDER if name.startswith(PURE)])
def test_language_and_problems_import_no_mlx(module: str) -> None:
    reached, waiting = set(), {module}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= own(name) - reached
    outside = {name for one in reached for name in imports(one)}
    assert not {name for name in outside if name.split(".")[0] in ("mlx", "mlx_lm", "transformers")}


def test_the_command_line_starts_without_mlx() -> None:
    for module in ("cli.main", "cli.options", "cli.solve", "cli.problems", "cli.compile"):
        tree = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {getattr(node, "module", None) or node.names[0].name for node in top}
        assert not {name for name in names if name.startswith(("mlx.", "mlx_lm", "mlx_trace.model", "mlx_trace.train"))}


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for module in ORDER:
        tree = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("module", ORDER)
def test_modules_and_functions_are_short(module: str) -> None:
    text = (PACKAGE / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > MOST_OF_A_FUNCTION} == {}
