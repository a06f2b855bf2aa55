"""Describes the video in words: window by window, and as a whole."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from actors.cut_analysis import Cuts
from actors.qwen2_vl_temporal.describers import Answer, Describer, DescriberFailed, Family, Prompt
from actors.qwen2_vl_temporal.describers.answers import (
    LANGUAGES,
    QUESTIONS,
    WHOLE,
    WINDOW,
    Fault,
    parse,
    question_prompt,
    tags_of,
    value_of,
    whole_prompt,
    window_prompt,
)
from actors.qwen2_vl_temporal.describers.auroracap import AURORACAP
from actors.qwen2_vl_temporal.describers.blip2 import BLIP2
from actors.qwen2_vl_temporal.describers.qwen_vl import QWEN2, QWEN3, QWEN25, QWEN35
from actors.qwen2_vl_temporal.describers.server import SERVER, Server, checked_url
from actors.qwen2_vl_temporal.describers.small_vl import SMALL, evenly
from actors.speech_transcription import Transcript
from tiktok_ray.analyzer import (
    Analyzer,
    Answered,
    Answers,
    Needs,
    Options,
    Partial,
    Question,
    Variant,
)
from tiktok_ray.media import Frames
from tiktok_ray.media.spans import Span
from tiktok_ray.report import (
    Event,
    Missing,
    ModelUsed,
    Output,
    Status,
    Timed,
    derived,
    estimated,
    measured,
    setting,
)

NAME = "qwen2_vl_temporal"


def _here(family: Family) -> Family:
    """A family that runs on this machine, with the libraries that it needs."""
    libraries = ("torch", "transformers")
    made = (replace(one, imports=(*one.imports, *libraries)) for one in family.variants)
    return Family(tuple(made), family.load)


#: Describers that run on this machine by the name of the option. After the default's own variants
#: comes the small one.
DESCRIBERS: dict[str, Family] = {
    "qwen2-vl": _here(QWEN2),
    "qwen2.5-vl": _here(QWEN25),
    "qwen3-vl": _here(QWEN3),
    "qwen3.5": _here(QWEN35),
    "blip2": _here(BLIP2),
    "auroracap": _here(AURORACAP),
    "small": _here(SMALL),
}
DescriberName = Literal[
    "qwen2-vl", "qwen2.5-vl", "qwen3-vl", "qwen3.5", "blip2", "auroracap", "small", "server"
]

#: Share of the time limit after which no further window is begun, so that the whole gets its turn.
WINDOWS_SHARE = 0.8
FAULT_WORDS: dict[Fault, str] = {
    "empty": "an empty answer",
    "cut_off": "cut off at the limit",
    "format": "not in the requested format",
    "loop": "repeating itself",
    "language": "in another language",
}


class WindowDescription(Timed):
    """A describer's answer about one window. A field is null if the answer lacks it,
    and empty where it says that there is nothing."""

    shot: int | None = derived("Index of its shot; null where shots are not known")
    picture_times: list[float] = measured("Timestamps of the frames shown to the model", unit="s")
    setting: str | None = estimated("The place")
    people: str | None = estimated("Who is there; empty: nobody")
    action: str | None = estimated("What happens")
    visible_text: str | None = estimated("Readable words; empty: none")
    mood: str | None = estimated("The mood, in the model's own words, without a defined scale")
    raw: str = estimated("The complete answer, verbatim")
    faults: list[Fault] = derived(
        "What is wrong with the answer: empty, cut_off (by the limit of tokens or time), "
        "format (fields are missing), loop (it repeats itself), language (not the requested "
        "one)"
    )
    tokens: int | None = measured(
        "Length of the answer; null if a server does not report it", unit="tokens", range="0.."
    )

    def label(self) -> str:
        """The answer in one short line; "" where there is none."""
        said = self.action or self.setting or " ".join(self.raw.split())
        return said if len(said) <= 120 else f"{said[:119].rstrip()}…"


class Description(Output):
    """What the video shows, in the words of a vision-language model."""

    windows: list[WindowDescription] = estimated(
        "Windows in chronological order; they follow the shots"
    )
    title: str | None = estimated("A title for the whole video; null if none was given")
    summary: str | None = estimated("Short summary of the whole video; null if none was given")
    narrative: str | None = estimated(
        "How the video develops from beginning to end; null if not given"
    )
    tags: list[str] | None = estimated("Tags in lower case; null if none were given")
    raw: str | None = estimated(
        "The answer about the whole video, verbatim; null if it was not asked for"
    )
    faults: list[Fault] = derived("What is wrong with that answer, as in the windows")
    described_share: float = derived(
        "Share of the video covered by windows with an answer", range="0..1"
    )
    answered_share: float = derived(
        "Share of the fields requested for the windows that the answers provide", range="0..1"
    )
    describer: str = setting("Describer that was requested")
    answered_by: list[str] | None = setting(
        "Models that answered, as reported by the server; null if it reports none, and if the "
        "describer runs on this machine (its checkpoint is the section's `model`)",
        default=None,
    )
    language: str = setting("Language that was requested, ISO 639-1")

    def headline(self) -> str:
        count = f"{len(self.windows)} window{'' if len(self.windows) == 1 else 's'}"
        said = self.title or next((w.label() for w in self.windows if w.label()), "no answer")
        return f"{count}: {said}"

    def events(self) -> Iterator[Event]:
        for window in self.windows:
            if label := window.label():
                yield Event(
                    start=window.start,
                    end=window.end,
                    kind="description",
                    label=label,
                    analyzer=NAME,
                )


class DescriptionOptions(Options):
    """Settings of ``qwen2_vl_temporal``."""

    describer: DescriberName = Field("qwen2-vl", description="Describer model")
    language: str = Field(
        "en", pattern=f"^({'|'.join(LANGUAGES)})$", description="Language of the answers, ISO 639-1"
    )
    window_s: float = Field(4.0, ge=0.5, le=30, description="Longest window, in seconds")
    windows_max: int = Field(60, ge=1, le=600, description="Maximum number of windows described")
    pictures: int = Field(8, ge=1, le=16, description="Maximum number of frames shown per window")
    pixels: int = Field(
        100_352, ge=3136, le=1_003_520, description="Maximum number of pixels per frame"
    )
    tokens: int = Field(160, ge=16, le=1024, description="Maximum length of an answer")
    questions_max: int = Field(
        60, ge=1, le=600, description="Maximum number of questions in a definition of segments"
    )
    whole_tokens: int = Field(400, ge=16, le=2048, description="Maximum length of the final answer")
    seconds: float = Field(540.0, gt=0, description="Timeout for one video, in seconds")
    server_url: str | None = Field(
        None, description="Base URL for `server`, like http://127.0.0.1:8000/v1"
    )
    server_model: str | None = Field(
        None, min_length=1, description="Name of the server's model; None: the only one it has"
    )
    server_key_file: Path | None = Field(None, description="File with its API key")
    server_seconds: float = Field(
        120.0, gt=0, description="Timeout for one batch of its answers, in seconds"
    )

    @model_validator(mode="after")
    def _named(self) -> DescriptionOptions:
        if self.describer == "server" and self.server_url is None:
            raise ValueError("the describer `server` requires server_url")
        if self.server_url is not None:
            checked_url(self.server_url)
        return self


class Looked(NamedTuple):
    """Windows that were described, models that said they did it, and what broke it off."""

    described: list[WindowDescription]
    models: set[str]
    broken: str = ""


class Qwen2VlTemporal(Analyzer):
    """Descriptions of the video in words: per window, and of the whole."""

    name = NAME
    card_priority = 10
    needs = Needs(threads=2, timeout_s=600, cost=120)
    imports = ("cv2",)
    variants = (*(own for family in DESCRIBERS.values() for own in family.variants), SERVER)
    options_type = DescriptionOptions
    batch = 4

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        self.describer: Describer | None = None

    @classmethod
    def variants_for(cls, options: Options) -> tuple[Variant, ...]:
        """The variants of the selected describer; for the default one, followed by those of ``small``."""
        chosen: str = getattr(options, "describer", "qwen2-vl")
        if chosen == "server":
            return (SERVER,)
        own = DESCRIBERS[chosen].variants
        return (*own, *DESCRIBERS["small"].variants) if chosen == "qwen2-vl" else own

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        if variant.name == SERVER.name:
            self.describer = Server(
                self.options.server_url,
                self.options.server_model,
                key_file=self.options.server_key_file,
                seconds=self.options.server_seconds,
                pixels=self.options.pixels,
            )
            return
        family = next(
            family
            for family in DESCRIBERS.values()
            if variant.name in {own.name for own in family.variants}
        )
        self.describer = family.load(variant, device, files["describer"], self.options.pixels)
        if device == "cpu":
            self.batch = 1

    def answering(self) -> ModelUsed | None:
        return self.describer.which() if isinstance(self.describer, Server) else None

    def analyze(
        self, frames: Frames, cut_analysis: Cuts | None, speech_transcription: Transcript | None
    ) -> Description | Partial:
        assert self.describer is not None
        begin, options = time.monotonic(), self.options
        shots = [shot.span for shot in cut_analysis.shots] if cut_analysis else None
        cut = windows(shots or [(float(frames.times[0]), frames.end)], options.window_s)
        seen = [(k, span, near) for k, span in cut if (near := inside(frames, span))]
        kept = [seen[k] for k in evenly(len(seen), options.windows_max)]
        looked = self._look(frames, kept, bool(shots), begin + WINDOWS_SHARE * options.seconds)
        said = speech_transcription.text if speech_transcription else None
        last, broken = None, looked.broken
        if not broken:
            left = begin + options.seconds - time.monotonic()
            try:
                last = self._whole(looked.described, said or "", left)
            except DescriberFailed as error:
                broken = str(error)
        return assemble(
            looked.described,
            last,
            follows=self.describer.follows,
            answered_by=sorted(looked.models) or None,
            broken=broken,
            unseen=(len(seen) - len(kept), len(kept) - len(looked.described)),
            duration=frames.end - float(frames.times[0]),
            options=options,
        )

    def answer(self, asked: Sequence[Question], frames: Frames) -> Answers:  # type: ignore[override]
        """Answer questions, each over the frames of its stretch of the video, within ``seconds``."""
        until = time.monotonic() + self.options.seconds
        near = [inside(frames, Span(one.start, one.end)) for one in asked]
        made = {k: Answered(status="skipped", reason=why, picture_times=[])
                for k, some in enumerate(near) if (why := self._unasked(k, some))}  # fmt: skip
        open_ = [k for k in range(len(asked)) if k not in made]
        for first in range(0, len(open_), self.batch):
            some = open_[first : first + self.batch]
            prompts = [self._question(frames, asked[k], near[k]) for k in some]
            made |= dict(zip(some, self._answers(prompts, until), strict=True))
        return Answers(answers=[made[k] for k in range(len(asked))])

    def _unasked(self, number: int, near: Sequence[int]) -> str | None:
        """Why a question is not put; None where it is."""
        assert self.describer is not None
        if not self.describer.follows:
            return f"{self.options.describer} follows no instructions; choose another describer"
        if number >= self.options.questions_max:
            return f"more than questions_max ({self.options.questions_max}) questions"
        return None if near else "no picture was taken in so short a stretch"

    def _answers(self, prompts: Sequence[Prompt], until: float) -> list[Answered]:
        """One batch. Where the describer fails, that is what came of each of its questions."""
        assert self.describer is not None
        left = until - time.monotonic()
        status: Status = "timed_out"
        reason = f"time limit of {self.options.seconds:g} s"
        if left > 0:
            try:
                answers = self.describer.answer(prompts, tokens=self.options.tokens, seconds=left)
                return [read_answer(*pair) for pair in zip(prompts, answers, strict=True)]
            except DescriberFailed as error:
                status, reason = "failed", str(error)
        return [
            Answered(status=status, reason=reason, picture_times=list(p.times)) for p in prompts
        ]

    def _question(self, frames: Frames, asked: Question, near: Sequence[int]) -> Prompt:
        text = question_prompt(asked.text, asked.start, asked.end, asked.form)
        return self._shown(frames, near, text)

    def _look(
        self,
        frames: Frames,
        kept: Sequence[tuple[int, Span, Sequence[int]]],
        in_shots: bool,
        until: float,
    ) -> Looked:
        """Describe windows until that time. Raises ``DescriberFailed`` where none was described."""
        assert self.describer is not None
        described: list[WindowDescription] = []
        models: set[str] = set()
        for first in range(0, len(kept), self.batch):
            left = until - time.monotonic()
            if left <= 0:
                break
            some = kept[first : first + self.batch]
            prompts = [self._prompt(frames, span, near) for _, span, near in some]
            try:
                answers = self.describer.answer(prompts, tokens=self.options.tokens, seconds=left)
            except DescriberFailed as error:
                if not described:
                    raise
                return Looked(described, models, str(error))
            models |= {answer.model for answer in answers if answer.model}
            for (shot, span, _), prompt, answer in zip(some, prompts, answers, strict=True):
                number = shot if in_shots else None
                described.append(read_window(span, number, prompt, answer, self.options.language))
        return Looked(described, models)

    def _prompt(self, frames: Frames, span: Span, near: Sequence[int]) -> Prompt:
        text = window_prompt(span.start, span.end, self.options.language)
        return self._shown(frames, near, text)._replace(questions=QUESTIONS)

    def _shown(self, frames: Frames, near: Sequence[int], text: str) -> Prompt:
        """A prompt with some of these frames."""
        chosen = [near[k] for k in evenly(len(near), self.options.pictures)]
        times = tuple(float(frames.times[k]) for k in chosen)
        return Prompt(text, tuple(frames.rgb(k) for k in chosen), times)

    def _whole(
        self, described: Sequence[WindowDescription], said: str, seconds: float
    ) -> Answer | None:
        """The answer about the whole; None if the model cannot sum up, or there is nothing to."""
        lines = [line for window in described if (line := seen_line(window))]
        if self.describer is None or not self.describer.follows or not lines or seconds <= 0:
            return None
        prompt = Prompt(whole_prompt(lines, said, self.options.language))
        [answer] = self.describer.answer(
            [prompt], tokens=self.options.whole_tokens, seconds=seconds
        )
        return answer


def windows(shots: Sequence[tuple[float, float]], longest: float) -> list[tuple[int, Span]]:
    """Equal parts of each shot, at most ``longest`` seconds each, with the index of the shot."""
    found = []
    for index, (start, end) in enumerate(shots):
        count = max(1, math.ceil((end - start) / longest - 1e-6))
        edges = [start + (end - start) * k / count for k in range(count)] + [end]
        found += [(index, Span(edges[k], edges[k + 1])) for k in range(count)]
    return found


def inside(frames: Frames, span: Span) -> list[int]:
    """Indices of the frames of a window."""
    low, high = frames.times.searchsorted([span.start - 1e-3, span.end - 1e-3])
    return list(range(int(low), int(high)))


def read_window(
    span: Span, shot: int | None, prompt: Prompt, answer: Answer, language: str
) -> WindowDescription:
    """What an answer says about a window."""
    values, faults = parse(answer.text, WINDOW, ended=answer.ended, language=language)
    return WindowDescription(
        start=span.start,
        end=span.end,
        shot=shot,
        picture_times=list(prompt.times),
        **{name: values.get(name) for name in WINDOW},
        raw=answer.text,
        faults=faults,
        tokens=answer.tokens,
    )


def read_answer(prompt: Prompt, answer: Answer) -> Answered:
    """What an answer to a question says."""
    status: Status = "ok"
    value, reason = value_of(answer.text, ended=answer.ended)
    if reason:
        status = "failed"
    elif value is None:
        status, reason = "skipped", "it says that the pictures do not tell"
    return Answered(
        status=status,
        reason=reason,
        value=value,
        raw=answer.text,
        picture_times=list(prompt.times),
        answered_by=answer.model,
    )


def seen_line(window: WindowDescription) -> str:
    """One window as a line of the prompt about the whole; "" if nothing is known of it."""
    parts = {label: getattr(window, name) for name, (label, _) in WINDOW.items()}
    said = "; ".join(f"{label}: {value}" for label, value in parts.items() if value)
    if not said and "language" not in window.faults:
        said = " ".join(window.raw.split())[:300]
    return f"{window.start:.1f}-{window.end:.1f} s: {said}" if said else ""


def assemble(
    described: list[WindowDescription],
    last: Answer | None,
    *,
    follows: bool,
    answered_by: list[str] | None = None,
    broken: str = "",
    unseen: tuple[int, int],
    duration: float,
    options: DescriptionOptions,
) -> Description | Partial:
    """Put the answers together. What they do not give is named in a ``Partial``.

    ``unseen``: windows left out by the limit of their number, and by the limit of time or because
    the describer stopped answering: ``broken`` says why.
    """
    text = last.text if last else ""
    ended = last.ended if last else True
    values, faults = parse(text, WHOLE, ended=ended, language=options.language)
    answered = [window for window in described if window.raw]
    given = sum(getattr(w, name) is not None for w in described for name in WINDOW)
    tags = tags_of(values["tags"]) if values.get("tags") else None
    output = Description(
        windows=described,
        title=values.get("title") or None,
        summary=values.get("summary") or None,
        narrative=values.get("narrative") or None,
        tags=tags or None,
        raw=last.text if last else None,
        faults=faults if last else [],
        described_share=min(1.0, sum(w.end - w.start for w in answered) / duration),
        answered_share=given / (len(WINDOW) * len(described)) if described else 0.0,
        describer=options.describer,
        answered_by=answered_by,
        language=options.language,
    )
    missing = [
        *_missing_windows(described, unseen, broken, options),
        *_missing_whole(output, follows, broken),
    ]
    lasting = not broken and not unseen[1]
    return Partial(output, tuple(missing), lasting) if missing else output


def _missing_windows(
    described: Sequence[WindowDescription],
    unseen: tuple[int, int],
    broken: str,
    options: DescriptionOptions,
) -> Iterator[Missing]:
    total = len(described) + sum(unseen)
    for count, limit in zip(
        unseen,
        (
            f"limit of {options.windows_max} windows",
            broken or f"timeout of {options.seconds:g} s",
        ),
        strict=True,
    ):
        if count:
            yield Missing(part="windows", reason=f"{count} of {total} not described: {limit}")
    for name in WINDOW:
        lacking = [w for w in described if getattr(w, name) is None]
        if lacking:
            causes = Counter(FAULT_WORDS[f] for w in lacking for f in w.faults)
            why = ", ".join(f"{words} ({n})" for words, n in causes.items())
            yield Missing(
                part=name, reason=f"missing for {len(lacking)} of {len(described)} windows: {why}"
            )


def _missing_whole(output: Description, follows: bool, broken: str) -> Iterator[Missing]:
    if not follows:
        reason = f"{output.describer} does not follow instructions, so it cannot summarise"
    elif broken:
        reason = broken
    elif output.raw is None:
        reason = "there was nothing to summarise, or no time left for it"
    else:
        reason = "the answer is " + ", ".join(FAULT_WORDS[f] for f in output.faults or ["format"])
    for name in WHOLE:
        if getattr(output, name) is None:
            yield Missing(part=name, reason=reason)
