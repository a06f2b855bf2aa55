"""Custom segments: time spans of a video in which conditions on its timeline hold.

A definition is JSON: named segments, each a condition of events (``event``, ``all``, ``any``,
``not``), fields to fill in, and a JSON Schema that the list must satisfy. If an analyzer that a
condition depends on did not run, its segment is not measured, which is not the same as absent.

A field is filled in from events, or by a describer's answer to a question, which must have the type
that the definition declares. Questions are collected here (``Draft``) and asked elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from tiktok_ray.analyzer import Answered, Question
from tiktok_ray.media import spans
from tiktok_ray.media.spans import Span
from tiktok_ray.report import Kind, ModelUsed, Status

#: How deep conditions may stand in one another, and events that are cited of one segment.
DEEPEST, CITED = 12, 20
#: Who finds events of a kind. Those of the file itself are always known.
FINDERS: dict[str, str] = {
    "shot": "cut_analysis", "cut": "cut_analysis", "transition": "cut_analysis",
    "scene": "scene_segmentation", "text": "text_overlay", "speech": "speech_transcription",
    "object": "object_detection", "person": "object_detection", "face": "age_estimation",
    "blink": "eye_tracking", "gesture": "body_pose", "camera": "camera_analysis",
    "sound": "audio_environment", "silence": "audio_analysis", "beat": "audio_analysis",
    "pause": "speech_flow", "emotion": "speech_emotion", "description": "qwen2_vl_temporal",
    "moment": "temporal_flow", "insight": "cross_analyzer_intelligence",
    "color": "color_analysis",
}  # fmt: skip
#: Keywords of schemas whose patterns could keep a process busy for ever, or lead elsewhere.
REFUSED = ("pattern", "patternProperties")


class BadDefinition(ValueError):
    """A definition that cannot be used; the message says where and why."""


class SchemaMismatch(ValueError):
    """The result does not satisfy the caller's schema; the message says where."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Where(_Closed):
    """Selects events. All given criteria must hold; text is compared case-insensitively."""

    kind: Kind
    label: str | None = Field(None, max_length=500, description="The exact label")
    contains: str | None = Field(
        None, min_length=1, max_length=500, description="Part of the label"
    )
    analyzer: str | None = Field(
        None, max_length=100, description="The analyzer that found it; default: any"
    )
    confidence: float | None = Field(
        None, ge=0, le=1, description="Minimum confidence; events without one do not match"
    )
    before_s: float = Field(
        0.0, ge=0, description="Seconds by which the condition holds before such an event"
    )
    after_s: float = Field(
        0.0, ge=0, description="Seconds by which the condition holds after such an event"
    )

    @property
    def finder(self) -> str | None:
        """The analyzer without which nothing can be said; None for what the file itself tells."""
        return self.analyzer or FINDERS.get(self.kind)

    def meets(self, event: Mapping[str, Any]) -> bool:
        label = event["label"].casefold()
        return (
            event["kind"] == self.kind
            and (self.label is None or label == self.label.casefold())
            and (self.contains is None or self.contains.casefold() in label)
            and self.analyzer in (None, event["analyzer"])
            and (self.confidence is None or (event.get("confidence") or 0) >= self.confidence)
        )


class Condition(_Closed):
    """One of: ``event``, ``all`` of some conditions, ``any`` of them, ``not`` one of them."""

    event: Where | None = None
    all: list[Condition] | None = Field(None, min_length=1, max_length=50)
    any: list[Condition] | None = Field(None, min_length=1, max_length=50)
    negated: Condition | None = Field(None, alias="not")

    @model_validator(mode="after")
    def _one(self) -> Condition:
        given = (self.event, self.all, self.any, self.negated)
        if sum(part is not None for part in given) != 1:
            raise ValueError("a condition must be exactly one of event, all, any, not")
        return self

    @property
    def parts(self) -> Sequence[Condition]:
        return self.all or self.any or ([self.negated] if self.negated else [])

    def events(self, positive: bool = True) -> Iterator[tuple[Where, bool]]:
        """Events it asks about, and whether their presence speaks for it."""
        if self.event is not None:
            yield self.event, positive
        for part in self.parts:
            yield from part.events(positive != (self.negated is not None))


class Filling(_Closed):
    """How a field is computed from the events of a segment: their number, their labels (each once,
    in chronological order), the first label, all labels as one text, or the seconds covered."""

    value: Literal["count", "labels", "first_label", "text", "seconds"]
    of: Where


class Form(_Closed):
    """JSON Schema of an answer: its type, and what narrows that."""

    type: Literal["boolean", "integer", "number", "string"] = "string"
    enum: list[str] | None = Field(None, min_length=1, max_length=100)
    max_length: int | None = Field(None, alias="maxLength", ge=1)
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _fits(self) -> Form:
        given = self.model_dump(exclude_none=True, exclude={"type"})
        own = {"string": {"enum", "max_length"}, "boolean": set()}.get(
            self.type, {"minimum", "maximum"}
        )
        if wrong := sorted(given.keys() - own):
            raise ValueError(f"{', '.join(wrong)} narrows no {self.type}")
        return self

    def schema_of(self) -> dict[str, Any]:
        """The same as JSON Schema."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Asking(_Closed):
    """A field that a describer fills in: a question about the pictures of a segment, and the type
    of its answer, by name or as JSON Schema."""

    question: str = Field(min_length=1, max_length=500)
    answer: Form

    @field_validator("answer", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        return {"type": given} if isinstance(given, str) else given


def _way(field: Any) -> str:
    asks = "question" in field if isinstance(field, dict) else isinstance(field, Asking)
    return "question" if asks else "events"


SegmentField = Annotated[
    Annotated[Filling, Tag("events")] | Annotated[Asking, Tag("question")], Discriminator(_way)
]


class SegmentDefinition(_Closed):
    """A kind of segment: its condition, minimum duration, and the gaps that are bridged."""

    name: str = Field(min_length=1, max_length=200)
    when: Condition
    at_least_s: float = Field(0.0, ge=0, description="Shorter segments are dropped")
    join_s: float = Field(0.0, ge=0, description="Gaps of up to this many seconds are bridged")
    by_shot: bool = Field(False, description="Segments are split at cuts")
    fields: dict[str, SegmentField] = Field(default_factory=dict, max_length=50)


class Definition(_Closed):
    """The segments requested by a caller."""

    segments: list[SegmentDefinition] = Field(min_length=1, max_length=100)
    list_schema: dict[str, Any] | None = Field(
        None, alias="schema", description="JSON Schema (2020-12) that the list must satisfy"
    )

    @classmethod
    def read(cls, text: str | bytes) -> Definition:
        """A definition from JSON. Raises ``BadDefinition``."""
        try:
            made = cls.model_validate_json(text)
        except ValidationError as error:
            told = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3]]
            raise BadDefinition("; ".join(told)) from None
        for one in made.segments:
            if _depth(one.when) > DEEPEST:
                raise BadDefinition(f"{one.name}: conditions are nested more than {DEEPEST} deep")
        if made.list_schema is not None:
            _check_schema(made.list_schema)
        return made


class Cited(_Closed):
    """An event that supports a segment."""

    analyzer: str
    kind: str
    start: float
    end: float
    what: str
    confidence: float | None = None


class FieldAnswer(_Closed):
    """What came of a question: ``ok`` where the field has its answer, else why it has none."""

    field: str
    status: Status
    reason: str | None = None
    picture_times: list[float] = Field(description="Times of the pictures shown, in seconds")
    model: str | None = Field(None, description="Who answered")
    variant: str | None = None
    raw: str | None = Field(None, description="The whole answer, unchanged")


class Segment(_Closed):
    """A time span in which a definition holds, with its evidence (the first 20 events).

    ``asked`` says what became of each question; a field without an answer is absent.
    """

    name: str
    start: float
    end: float
    fields: dict[str, Any]
    evidence: list[Cited]
    asked: list[FieldAnswer] | None = None


class NotMeasured(_Closed):
    """A definition that cannot be decided, and why."""

    name: str
    reason: str


class Segments(_Closed):
    """The result: segments in chronological order; definitions that were not measured, and those measured
    only in part, because an analyzer that they depend on lacks something."""

    segments: list[Segment]
    not_measured: list[NotMeasured]
    partly_measured: list[NotMeasured]


class Open(NamedTuple):
    """A question that a field waits for."""

    segment: int
    field: str
    question: Question


class Draft(NamedTuple):
    """Segments found in a report, and questions whose answers their fields still lack."""

    found: Segments
    open: list[Open]
    schema: dict[str, Any] | None

    def answered(self, answers: Sequence[Answered], by: ModelUsed | None) -> Segments:
        """The segments with an answer to each open question. Raises ``SchemaMismatch``."""
        made = list(self.found.segments)
        for (number, name, question), answer in zip(self.open, answers, strict=True):
            said = _judged(name, question, answer, by)
            one = made[number]
            value = {name: answer.value} if said.status == "ok" else {}
            more = {"fields": one.fields | value, "asked": [*(one.asked or ()), said]}
            made[number] = one.model_copy(update=more)
        whole = self.found.model_copy(update={"segments": made})
        if self.schema is not None:
            _satisfy(self.schema, whole)
        return whole

    def unanswered(self, status: Status, reason: str) -> Segments:
        """The segments where no question could be put. Raises ``SchemaMismatch``."""
        nothing = Answered(status=status, reason=reason, picture_times=[])
        return self.answered([nothing] * len(self.open), None)


def _judged(name: str, question: Question, answer: Answered, by: ModelUsed | None) -> FieldAnswer:
    """An answer, and whether it is of the type that was declared."""
    from jsonschema import Draft202012Validator

    status, reason = answer.status, answer.reason
    if status == "ok":
        wrong = next(Draft202012Validator(question.form).iter_errors(answer.value), None)
        if wrong is not None:
            status, reason = "failed", f"the answer: {wrong.message[:300]}"
    return FieldAnswer(
        field=name,
        status=status,
        reason=reason,
        picture_times=[round(t, 4) for t in answer.picture_times],
        model=answer.answered_by or (by.id if by and answer.raw is not None else None),
        variant=by.variant if by and answer.raw is not None else None,
        raw=answer.raw,
    )


def draft_of(report: Mapping[str, Any], definition: Definition) -> Draft:
    """Find segments in a loaded report; what a describer must be asked stays open."""
    found: list[tuple[Segment, SegmentDefinition]] = []
    lost: list[NotMeasured] = []
    partly: list[NotMeasured] = []
    for one in definition.segments:
        if reason := next(_unknown(report, one), None):
            lost.append(NotMeasured(name=one.name, reason=reason))
            continue
        found += [(segment, one) for segment in _found(report, one)]
        partly += [NotMeasured(name=one.name, reason=reason) for reason in _lacking(report, one)]
    found.sort(key=lambda pair: (pair[0].start, pair[0].end))
    questions = [
        Open(
            number,
            name,
            Question(field.question, segment.start, segment.end, field.answer.schema_of()),
        )
        for number, (segment, one) in enumerate(found)
        for name, field in one.fields.items()
        if isinstance(field, Asking)
    ]
    made = [segment for segment, _ in found]
    whole = Segments(segments=made, not_measured=lost, partly_measured=partly)
    return Draft(whole, questions, definition.list_schema)


def _asked(one: SegmentDefinition) -> list[Where]:
    shots = [Where(kind="shot")] if one.by_shot else []
    filled = [field.of for field in one.fields.values() if isinstance(field, Filling)]
    return [where for where, _ in one.when.events()] + filled + shots


def _unknown(report: Mapping[str, Any], one: SegmentDefinition) -> Iterator[str]:
    """Why nothing can be said about a definition."""
    for where in _asked(one):
        if where.finder is None or where.finder == "video":
            continue
        section = report["analyzers"].get(where.finder, {"status": "not in the report"})
        output = section.get("output")
        if output is None:
            reason = section.get("reason") or "no reason given"
            yield f"{where.finder} is {section['status']}: {reason}"
        elif (
            where.kind == "speech"
            and (where.label or where.contains)
            and output.get("segments") is None
        ):
            yield f"{where.finder} detected speech but has no transcript"


def _lacking(report: Mapping[str, Any], one: SegmentDefinition) -> list[str]:
    """What the analyzers that a definition asks say that they lack."""
    names = dict.fromkeys(where.finder for where in _asked(one))
    return [
        f"{name}, {part['part']}: {part['reason']}"
        for name in names
        for part in report["analyzers"].get(name, {}).get("missing") or ()
    ]


def _found(report: Mapping[str, Any], one: SegmentDefinition) -> Iterator[Segment]:
    whole = (0.0, report["video"]["duration_s"])
    held = spans.intersect(spans.union(_holds(report, one.when), one.join_s), [whole])
    speaking = [where for where, positive in one.when.events() if positive]
    near = [e for e in report["timeline"] if any(where.meets(e) for where in speaking)]
    parts = [held]
    if one.by_shot:
        shots = [e for e in report["timeline"] if e["kind"] == "shot"]
        parts = [spans.intersect(held, [(shot["start"], shot["end"])]) for shot in shots]
    for start, end in (s for part in parts for s in spans.longer(part, one.at_least_s)):
        cited = [e for e in near if _touches(e, speaking, start, end)]
        yield Segment(
            name=one.name,
            start=round(start, 4),
            end=round(end, 4),
            fields={
                name: _filled(report, field, Span(start, end))
                for name, field in one.fields.items()
                if isinstance(field, Filling)
            },
            evidence=[_cite(event) for event in cited[:CITED]],
        )


def _holds(report: Mapping[str, Any], condition: Condition) -> list[Span]:
    """When a condition holds."""
    if condition.event is not None:
        return spans.union(
            _extent(report, event, condition.event)
            for event in report["timeline"]
            if condition.event.meets(event)
        )
    parts = [_holds(report, part) for part in condition.parts]
    if condition.any is not None:
        return spans.union(span for part in parts for span in part)
    if condition.negated is not None:
        return spans.invert(parts[0], (0.0, report["video"]["duration_s"]))
    both = parts[0]
    for part in parts[1:]:
        both = spans.intersect(both, part)
    return both


def _extent(report: Mapping[str, Any], event: Mapping[str, Any], where: Where) -> Span:
    """How long an event counts: an instant for a frame at least."""
    frame = 1 / (report["video"]["fps"] or 25.0)
    end = max(event["end"], event["start"] + frame)
    return Span(event["start"] - where.before_s, end + where.after_s)


def _touches(event: Mapping[str, Any], asked: Sequence[Where], start: float, end: float) -> bool:
    """Whether an event that is asked for lies in a stretch; what ends as that begins does not,
    unless it is an instant."""
    return any(
        where.meets(event)
        and event["start"] - where.before_s < end
        and (
            event["end"] + where.after_s > start
            or event["start"] == event["end"] == start - where.after_s
        )
        for where in asked
    )


def _filled(report: Mapping[str, Any], field: Filling, span: Span) -> Any:
    inside = [
        event
        for event in report["timeline"]
        if field.of.meets(event) and _touches(event, [field.of], span.start, span.end)
    ]
    labels = list(dict.fromkeys(event["label"] for event in inside))
    if field.value == "seconds":
        extents = [_extent(report, event, field.of) for event in inside]
        return round(spans.overlap(extents, [span]), 4)
    return {
        "count": len(inside),
        "labels": labels,
        "first_label": labels[0] if labels else None,
        "text": " ".join(event["label"] for event in inside),
    }[field.value]


def _cite(event: Mapping[str, Any]) -> Cited:
    names = ("analyzer", "kind", "start", "end")
    facts = {name: event[name] for name in names}
    return Cited(**facts, what=event["label"], confidence=event.get("confidence"))


def _depth(condition: Condition) -> int:
    return 1 + max((_depth(part) for part in condition.parts), default=0)


# Schemas


def _check_schema(schema: Any) -> None:
    """Refuse what is not JSON Schema, and what it takes to be led elsewhere or kept busy."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    for key, value in _pairs(schema):
        if key in REFUSED:
            raise BadDefinition(f"schema: {key} is not supported")
        if key in ("$ref", "$dynamicRef") and not str(value).startswith("#"):
            raise BadDefinition(
                f"schema: {key} refers to an external schema; include it in the schema itself"
            )
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise BadDefinition(f"schema: {error.message[:300]}") from None


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(inner)


def _satisfy(schema: dict[str, Any], made: Segments) -> None:
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    found = made.model_dump(mode="json", exclude_none=True)["segments"]
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        wrong = next(validator.iter_errors(found), None)
    except Unresolvable as error:
        raise SchemaMismatch(
            f"the schema refers to something it does not contain: {error}"
        ) from None
    except RecursionError:
        raise SchemaMismatch("the schema refers to itself endlessly") from None
    if wrong is not None:
        place = "/".join(map(str, wrong.absolute_path)) or "the list"
        raise SchemaMismatch(f"{place}: {wrong.message[:300]}{_unfilled(made)}")


def _unfilled(made: Segments) -> str:
    """The first question without an answer, since a schema may want what it would have filled in."""
    for one in made.segments:
        for asked in one.asked or ():
            if asked.status != "ok":
                why = f"{asked.field} of {one.name} is {asked.status}: {asked.reason}"
                return f" ({why[:300]})"
    return ""
