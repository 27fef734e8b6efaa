"""How long a run will take, from a few seconds of what it does, on the model as it is loaded.

Takes a run that is planned; one that was probed is not to be trained, as a step is taken. What would take longer than
the probe may is not known.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx

from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.episode import Episode
from mlx_trace.decode.params import SamplingParams
from mlx_trace.decode.scheduler import Scheduler
from mlx_trace.seeds import stream
from mlx_trace.train.activation_cache import ActivationCache
from mlx_trace.train.examples import by_budget
from mlx_trace.train.rl.loss import micro_batch
from mlx_trace.train.rl.packing import Packed, num_read, prefix_tree, sampled_tokens
from mlx_trace.train.rl.reinforce import Reinforce
from mlx_trace.train.run import Plan
from mlx_trace.train.sft import Sft

SECONDS: Final = 10.0  # that a probe takes at most, about
_LEARN: Final = 0.25  # shares of it: of examples,
_SAMPLE: Final = 0.2  # of sampling,
_PASS: Final = 0.05  # of finding out what a pass costs
_BACK: Final = 4.0  # passes that learning costs as much as
_REFERENCE: Final = 0.35  # of an update, to know the reference's log-probabilities
_WIDEST: Final = 256


@dataclass(frozen=True, slots=True)
class Sampling:
    """What decoding costs: seconds that prompts take, each; seconds a token of a reply; tokens of a reply."""

    prompt: float
    token: float
    length: float

    def seconds(self, prompts: int, replies: int) -> float:
        """Return how long so many replies to so many prompts take."""
        return prompts * self.prompt + replies * self.length * self.token


def probe(planned: Plan, seconds: float = SECONDS) -> dict[str, float | None]:
    """Return about how many seconds each part of a run takes, None where that is not known."""
    cost = _pass_cost(planned.base.network, _PASS * seconds)
    parts: dict[str, float | None] = {}
    for phase in planned.phases:
        if isinstance(phase, Sft):
            parts[phase.name] = _sft(phase, cost, _LEARN * seconds)
        elif isinstance(phase, Reinforce):
            parts[phase.name] = _rl(phase, planned, cost, seconds)
    if (validation := planned.validation) is not None:
        decoder = Decoder(planned.base, validation.prompter, validation.decoding, validation.max_sequences)
        questions = [problem.question for problem in validation.problems]
        sampling, _ = _sampled(
            decoder, questions, SamplingParams(validation.max_tokens), planned, cost, _SAMPLE * seconds
        )
        once = None if sampling is None else sampling.seconds(len(questions), len(questions))
        times = validation.times([phase.updates for phase in planned.phases])
        parts["evaluation"] = None if once is None else times * once
    return parts


def _pass_cost(network: Any, most: float) -> float:
    """Return about what a token of a pass costs in seconds, of passes that double until they say enough."""
    width, spent = 8, 0.0
    mx.eval(network.model(mx.zeros((1, width), dtype=mx.int32)))  # weights may be read from the disk only now
    while True:
        began = time.perf_counter()
        mx.eval(network.model(mx.zeros((1, width), dtype=mx.int32)))
        spent = time.perf_counter() - began
        if spent > most / 4 or width >= _WIDEST:
            return spent / width
        width *= 2


# --- SFT -------------------------------------------------------------------------------------------------------


def _sft(phase: Sft, cost: float, most: float) -> float | None:
    """Time some examples, below the trained layers and in them, and an optimizer step; return all updates' seconds."""
    lengths = phase.examples.lengths
    room = min(phase.plan.micro_tokens, int(most / (2 * _BACK * cost)))
    spread = stream("probe").sample(range(len(lengths)), len(lengths))  # some from everywhere
    chosen = next(by_budget(spread, lengths, room))
    if sum(lengths[index] for index in chosen) > room:
        return None
    cache = ActivationCache(phase.examples.split, phase.examples.rows, phase.examples.shared, "off",
                            phase.config.adapter_path, lambda index: [index])  # fmt: skip
    phase.base.network.train()
    for _ in range(2):  # the first time some things are compiled
        began = time.perf_counter()
        batch = phase.examples.pack(chosen, cache, 1.0)
        mx.eval(batch.states)
        read = time.perf_counter()
        phase.learner.add(batch)
        learnt = time.perf_counter()
    phase.learner.step()
    stepped = time.perf_counter() - learnt
    total, probed = sum(lengths), sum(lengths[index] for index in chosen)
    seen = total * phase.updates / max(1, phase.batches.updates(1))
    read_tokens = seen if phase.plan.activation_cache == "off" else min(seen, total)
    return (read_tokens * (read - began) + seen * (learnt - read)) / probed + phase.updates * stepped


# --- reinforcement ---------------------------------------------------------------------------------------------


def _rl(phase: Reinforce, planned: Plan, cost: float, seconds: float) -> float | None:
    """Time part of a rollout, and learning from what came of it; return all updates' seconds."""
    rl = phase.rl
    params = SamplingParams(rl.max_tokens, rl.temperature, rl.group_size)
    questions = [problem.question for problem in phase.problems[: rl.batch_size]]
    sampling, episodes = _sampled(phase.decoder, questions, params, planned, cost, _SAMPLE * seconds)
    learnt = _learnt(phase, episodes, cost, _LEARN * seconds)
    if sampling is None or learnt is None:
        return None
    replies = rl.batch_size * rl.group_size
    each = rl.updates_per_batch + (_REFERENCE if rl.kl else 0.0)
    return phase.updates * (sampling.seconds(rl.batch_size, replies) + each * replies * sampling.length * learnt)


def _learnt(phase: Reinforce, episodes: Sequence[Episode], cost: float, most: float) -> float | None:
    """Return the seconds that learning takes, a token of replies."""
    told = sorted((episode for episode in episodes if episode.logprobs), key=lambda episode: episode.prompt)
    lengths = [len(episode.prompt_activations) + num_read(episode) for episode in told]
    room = min(phase.plan.micro_tokens, int(most / (2 * _BACK * cost)))
    chosen = next(by_budget(range(len(told)), lengths, room), [])
    if not chosen or sum(lengths[index] for index in chosen) > room:
        return None
    own = [told[index] for index in chosen]
    for episode in own:
        episode.advantage = 1.0
    states, tree = prefix_tree(own, phase.decoder.prefix_activations, phase.decoder.activations())
    packed = Packed(own, sampled_tokens(own))
    for _ in range(2):
        began = time.perf_counter()
        batch, _ = micro_batch(phase.base.network, states, tree, packed, phase.objective, 1.0, phase.decoder.masks)
        phase.learner.add(batch)
        spent = time.perf_counter() - began
    return spent / sum(len(episode.ids) for episode in own)


# --- sampling --------------------------------------------------------------------------------------------------


def _sampled(
    decoder: Decoder, questions: Sequence[str], params: SamplingParams, planned: Plan, cost: float, most: float
) -> tuple[Sampling | None, list[Episode]]:
    """Reply to as many questions as there is time for, and stop when it is over; None if there is not for one."""
    planned.base.network.eval()
    questions = questions[: max(1, decoder.max_sequences // params.n)]
    longest = max(map(len, decoder.prompter.many_ids(questions)))
    affordable = int(most / 2 / (cost * longest))
    if not affordable:
        return None, []
    decoder.refresh()
    began = first = time.perf_counter()
    scheduler, read = decoder.schedule(questions[:affordable], params), 0
    for number, _ in enumerate(scheduler.passes()):
        if number == 0:
            first, read = time.perf_counter(), _num_tokens(scheduler)
        if time.perf_counter() - began > most:
            break
    spent, tokens = time.perf_counter() - first, _num_tokens(scheduler) - read
    episodes = [episode for episode in scheduler.episodes.values() if episode.ids]
    asked = {episode.prompt for episode in episodes}
    if tokens <= 0:
        return None, episodes
    return Sampling((first - began) / max(1, len(asked)), spent / tokens, _length(episodes, params, planned)), episodes


def _num_tokens(scheduler: Scheduler) -> int:
    return sum(len(episode.ids) for episode in scheduler.episodes.values())


def _length(episodes: Sequence[Episode], params: SamplingParams, planned: Plan) -> float:
    """Return how long replies are expected to be: as gold traces are, or as they came if all ended, or the longest."""
    golds = [(row.problems, row.trace) for row in planned.material.lengths if row.trace]
    if golds:
        return sum(count * length for count, length in golds) / sum(count for count, _ in golds)
    if all(episode.finished for episode in episodes):
        return sum(len(episode.ids) for episode in episodes) / len(episodes)
    return float(params.max_tokens)
