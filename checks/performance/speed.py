"""Serving speed as a user sees it: an open-loop load on streamed answers, then a saturated server.

Requests arrive at times drawn in advance (exponential gaps, seeded) whether or not earlier ones are answered, and every
latency counts from the scheduled arrival, so that queueing shows, in the server or here.  Time to first token (TTFT)
ends with the first piece of text, never with the empty role chunk.  Inter-token latency (ITL) is one value a request:
the time from its first to its last token over the tokens after the first.  A failed, hung or empty answer is counted
invalid.  A warm-up at the same concurrency comes first.  Throughput is counted in windows of a second phase in which a
fixed number of requests is always in flight.

How many requests: a one-sided 95 % bound on a 95th percentile by order statistics needs n with 0.95^n <= 0.05, which
is 59 (the largest value then bounds it); 64 are sent, so that 5 may fail.  Eight throughput windows give a t interval
whose half width is 0.67 standard deviations of a window.  It is always measured in full: the load is one, and a part
of it is another load.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from checks.contract import Check, Message, MetricDeclaration, Model, Progress, Sampling
from pipeline.errors import ServingError
from pipeline.measurement import Measurement, Metric, Sample

REQUESTS = 64
RATE = 2.5  # arrivals a second
CONCURRENCY = 8  # requests in flight while throughput is counted, and during warm-up
WINDOWS = 8
WINDOW_SECONDS = 1.25
MAX_TOKENS = 24
TIMEOUT_SECONDS = 120.0  # after which a request counts as hung
_SUBJECTS = (
    "a lighthouse",
    "a market",
    "a mountain path",
    "an old library",
    "a bakery",
    "a river",
    "a train",
    "a farm",
)
_FORMS = ("a short story", "a letter to a friend", "a description", "a news report", "a list of facts", "a dialogue")
PERCENTILES = (("p50", 0.5), ("p95", 0.95))


@dataclass(frozen=True)
class Timing:
    """One streamed request.  Seconds on one monotonic clock; `first` and `last` are None without any text."""

    id: str
    prompt: str
    scheduled: float
    first: float | None = None
    last: float | None = None
    tokens: int = 0
    text: str = ""
    error: str | None = None

    @property
    def valid(self) -> bool:
        """Whether its latencies count: no error, and at least two tokens."""
        return self.error is None and self.first is not None and self.tokens >= 2

    @property
    def ttft(self) -> float:
        """Seconds from the scheduled arrival to the first text."""
        return (self.first or 0.0) - self.scheduled

    @property
    def itl(self) -> float:
        """Mean seconds between tokens after the first."""
        return ((self.last or 0.0) - (self.first or 0.0)) / (self.tokens - 1)

    @property
    def latency(self) -> float:
        """Seconds from the scheduled arrival to the last token."""
        return (self.last or 0.0) - self.scheduled


@dataclass(frozen=True)
class Load:
    """How hard the server is pressed; the defaults are the published ones."""

    requests: int = REQUESTS
    rate: float = RATE
    concurrency: int = CONCURRENCY
    windows: int = WINDOWS
    window_seconds: float = WINDOW_SECONDS
    max_tokens: int = MAX_TOKENS
    timeout_seconds: float = TIMEOUT_SECONDS


@dataclass(frozen=True)
class _Request:
    """A prompt and when it is due, in seconds of the monotonic clock."""

    id: str
    prompt: str
    scheduled: float


@dataclass
class _Tally:
    """Tokens counted by window while the server is saturated."""

    start: float
    window_seconds: float
    counts: list[int]

    def add(self, at: float, tokens: int) -> None:
        window = int((at - self.start) / self.window_seconds)
        if 0 <= window < len(self.counts):
            self.counts[window] += tokens


def measure(model: Model, seed: int, progress: Progress) -> Measurement:
    """Latencies and throughput under the published load.

    Raises:
        ServingError: the server died, or the warm-up had no answer at all.
    """
    return measure_under(model, seed, progress, Load())


def measure_under(model: Model, seed: int, progress: Progress, load: Load) -> Measurement:
    """Latencies and throughput under `load`.  Raises ServingError as `measure` does."""
    timings, windows = asyncio.run(_run(model, seed, progress, load))
    metrics = (*_latencies(timings), _throughput(windows, load))
    samples = (*(_sample(timing, seed) for timing in timings), *_window_samples(windows, load, seed))
    return Measurement(CHECK.name, CHECK.version, (), metrics, samples, seed)


async def _run(model: Model, seed: int, progress: Progress, load: Load) -> tuple[list[Timing], list[int]]:
    rng = random.Random(seed)  # noqa: S311  # a schedule, not a secret
    await _warm_up(model, load, rng)
    timings = await _open_loop(model, load, rng, progress)
    windows = await _saturate(model, load, rng, progress)
    return timings, windows


async def _warm_up(model: Model, load: Load, rng: random.Random) -> None:
    """Answers at the concurrency to come, thrown away: the first batch of a new shape takes twice as long."""
    now = time.monotonic()
    warm = await asyncio.gather(
        *(_ask(model, _Request("warm-up", _prompt(rng, turn), now), load) for turn in range(load.concurrency))
    )
    if not any(timing.valid for timing in warm):
        raise ServingError(
            "no streamed answer came back during the warm-up",
            why=f"Each of {len(warm)} requests failed; the first: {warm[0].error or 'an empty answer'}.",
            remedy="Check that the server streams chat completions, and its log.",
        )


async def _open_loop(model: Model, load: Load, rng: random.Random, progress: Progress) -> list[Timing]:
    at = time.monotonic() + 0.1  # seconds of head start, so that the first arrival is not already late
    requests: list[_Request] = []
    for number in range(load.requests):
        requests.append(_Request(f"request-{number:03d}", _prompt(rng, number), at))
        at += rng.expovariate(load.rate)
    return list(await asyncio.gather(*(_arrive(model, request, load, progress) for request in requests)))


async def _arrive(model: Model, request: _Request, load: Load, progress: Progress) -> Timing:
    await asyncio.sleep(max(0.0, request.scheduled - time.monotonic()))
    timing = await _ask(model, request, load)
    progress(1)
    return timing


async def _saturate(model: Model, load: Load, rng: random.Random, progress: Progress) -> list[int]:
    """Tokens in each window while `concurrency` requests are always in flight; the ramp before them is left out."""
    ramp = load.window_seconds
    tally = _Tally(time.monotonic() + ramp, load.window_seconds, [0] * load.windows)
    end = tally.start + load.windows * load.window_seconds
    prompts = [_prompt(rng, number) for number in range(97)]

    async def worker(number: int) -> None:
        turn = number
        while time.monotonic() < end:
            request = _Request("load", prompts[turn % len(prompts)], time.monotonic())
            timing = await _ask(model, request, load, tally.add)
            turn += load.concurrency
            if not timing.valid:
                await asyncio.sleep(0.05)  # a server that refuses at once is not hammered

    await asyncio.gather(*(worker(number) for number in range(load.concurrency)))
    progress(load.windows)
    return tally.counts


async def _ask(
    model: Model, request: _Request, load: Load, count: Callable[[float, int], None] | None = None
) -> Timing:
    """One streamed answer, timed; what fails or hangs is a Timing with its error."""
    first = last = None
    tokens = 0
    pieces: list[str] = []
    error = None
    message: Message = {"role": "user", "content": request.prompt}
    try:
        async with asyncio.timeout(load.timeout_seconds):
            async for piece in model.stream([message], Sampling(load.max_tokens)):
                if piece.tokens == 0 or (first is None and not piece.text):
                    continue  # the role chunk and the usage chunk carry no token
                first = piece.at if first is None else first
                last = piece.at
                tokens += piece.tokens
                pieces.append(piece.text)
                if count is not None:
                    count(piece.at, piece.tokens)
    except TimeoutError:
        error = f"no end within {load.timeout_seconds:g} s"
    except ServingError as failure:
        error = f"{failure.what}: {failure.why}"
    return Timing(request.id, request.prompt, request.scheduled, first, last, tokens, "".join(pieces), error)


def _prompt(rng: random.Random, number: int) -> str:
    """A request that a model answers at length, unlike the others from its start, so that no cache serves it."""
    form, subject = rng.choice(_FORMS), rng.choice(_SUBJECTS)
    return f"Number {number}-{rng.randrange(10_000)}: write {form} of at least one hundred words about {subject}."


def _latencies(timings: Sequence[Timing]) -> tuple[Metric, ...]:
    valid = [timing for timing in timings if timing.valid]
    values = {
        "ttft": [timing.ttft for timing in valid],
        "itl": [timing.itl for timing in valid],
        "latency": [timing.latency for timing in valid],
    }
    return tuple(
        Metric(
            name=f"{name}_{label}",
            kind="quantile",
            unit="s",
            better="lower",
            items=tuple(timing.id for timing in valid),
            values=tuple(column),
            invalid=len(timings) - len(valid),
            quantile=quantile,
        )
        for name, column in values.items()
        for label, quantile in PERCENTILES
    )


def _throughput(windows: Sequence[int], load: Load) -> Metric:
    return Metric(
        name="throughput",
        kind="mean",
        unit="tokens/s",
        better="higher",
        items=tuple(f"window-{number}" for number in range(len(windows))),
        values=tuple(count / load.window_seconds for count in windows),
    )


def _sample(timing: Timing, seed: int) -> Sample:
    detail: dict[str, float | str] = {"tokens": timing.tokens}
    if timing.valid:
        detail |= {"ttft": timing.ttft, "itl": timing.itl, "latency": timing.latency}
    if timing.error is not None:
        detail["error"] = timing.error
    outcome = "answered" if timing.valid else "invalid"
    return Sample(timing.id, timing.prompt, timing.text, outcome, valid=timing.valid, seed=seed, detail=detail)


def _window_samples(windows: Sequence[int], load: Load, seed: int) -> Iterator[Sample]:
    """What each throughput value rests on: the tokens that came in a window of time, whichever request they were of."""
    for number, tokens in enumerate(windows):
        detail = {"tokens": tokens, "seconds": load.window_seconds}
        yield Sample(f"window-{number}", "", "", "counted", seed=seed, detail=detail)


_TITLES = {"ttft": "Time to first token", "itl": "Inter-token latency", "latency": "End-to-end latency"}

CHECK = Check(
    name="performance/speed",
    version="1",
    title="Serving speed",
    data=(),
    metrics=(
        *(
            MetricDeclaration(f"{name}_{label}", "quantile", "s", "lower", REQUESTS, f"{title}, {label}")
            for name, title in _TITLES.items()
            for label, _ in PERCENTILES
        ),
        MetricDeclaration(
            "throughput", "mean", "tokens/s", "higher", WINDOWS, f"Output tokens a second, {CONCURRENCY} in flight"
        ),
    ),
    units=REQUESTS + WINDOWS,
    measure=measure,
    settings={
        "rate": RATE,
        "concurrency": CONCURRENCY,
        "window_seconds": WINDOW_SECONDS,
        "max_tokens": MAX_TOKENS,
        "timeout_seconds": TIMEOUT_SECONDS,
    },
)
