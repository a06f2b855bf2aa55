"""Evaluates the part of PromQL that the dashboard speaks, over two scrapes of one target.

Selectors with matchers, ``rate`` and ``increase``, ``sum``, ``min`` and ``max`` with ``by``,
``histogram_quantile``, ``+ * /``, numbers and brackets. Anything else is a ``SyntaxError``. A rate is the
difference of the two scrapes by the seconds between them; vectors match on equal labels.
"""

import math
import operator
import re

from prometheus_client.parser import text_string_to_metric_families

TOKEN = re.compile(r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<word>[A-Za-z_]\w*)|(?P<sign>[-+*/(){},]))")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
RANGE = re.compile(r"\[[^]]+\]")
HOLDS = {
    "=": operator.eq,
    "!=": operator.ne,
    "=~": lambda value, wanted: re.fullmatch(wanted, value) is not None,
    "!~": lambda value, wanted: re.fullmatch(wanted, value) is None,
}


def samples(text):
    """Samples of an exposition: {name: {labels as a frozenset of pairs: value}}."""
    found = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, {})[frozenset(one.labels.items())] = one.value
    return found


class Query:
    """One evaluation: ``Query(expression, before, after, seconds).value()``."""

    def __init__(self, expression, before, after, seconds):
        self.text, self.at = expression, 0
        self.before, self.after, self.seconds = before, after, seconds

    def value(self):
        """A number, or a vector {labels: value}."""
        value = self.added()
        if self.text[self.at :].strip():
            raise SyntaxError(f"{self.text!r} at {self.at}")
        return value

    def peek(self):
        found = TOKEN.match(self.text, self.at)
        return found.group().strip() if found else ""

    def take(self, wanted=None):
        found = TOKEN.match(self.text, self.at)
        token = self.peek()
        if found is None or wanted not in (None, token):
            raise SyntaxError(f"{self.text!r} at {self.at}: {wanted!r} is wanted")
        self.at = found.end()
        return token

    def added(self):
        value = self.multiplied()
        while self.peek() == "+":
            self.take()
            value = joined(operator.add, value, self.multiplied())
        return value

    def multiplied(self):
        value = self.term()
        while self.peek() in ("*", "/"):
            how = operator.mul if self.take() == "*" else divided
            value = joined(how, value, self.term())
        return value

    def term(self):
        token = self.take()
        if token == "(":
            value = self.added()
            self.take(")")
            return value
        if token[0].isdigit():
            return float(token)
        if token in ("sum", "min", "max"):
            return self.aggregated({"sum": sum, "min": min, "max": max}[token])
        if token in ("rate", "increase"):
            return self.changed(self.seconds if token == "rate" else 1.0)
        if token == "histogram_quantile":
            self.take("(")
            share = float(self.take())
            self.take(",")
            value = self.added()
            self.take(")")
            return quantiles(share, value)
        return self.selected(token, self.after)

    def aggregated(self, how):
        kept = []
        if self.peek() == "by":
            self.take()
            self.take("(")
            while self.take_unless(")"):
                kept.append(self.take())
                self.take_unless(",", consume=True)
        self.take("(")
        groups = {}
        for labels, value in self.added().items():
            key = frozenset((name, value) for name, value in labels if name in kept)
            groups.setdefault(key, []).append(value)
        self.take(")")
        return {labels: how(values) for labels, values in groups.items()}

    def take_unless(self, end, consume=False):
        """Whether ``end`` does not come next; it is taken if so (or, to ``consume`` it, always)."""
        if self.peek() == end:
            self.take()
            return False
        return not consume

    def changed(self, seconds):
        self.take("(")
        start, name = self.at, self.take()
        now = self.selected(name, self.after)
        self.at = start
        then = self.selected(self.take(), self.before)
        span = RANGE.match(self.text, self.at)
        if span is None:
            raise SyntaxError(f"{self.text!r} at {self.at}: a range is wanted")
        self.at = span.end()
        self.take(")")
        return {k: (v - then[k]) / seconds for k, v in now.items() if k in then}

    def selected(self, name, scrape):
        wanted = []
        if self.text.startswith("{", self.at):
            end = self.text.index("}", self.at)
            wanted = MATCHER.findall(self.text[self.at : end])
            self.at = end + 1
        return {
            labels: value
            for labels, value in scrape.get(name, {}).items()
            if all(HOLDS[how](dict(labels).get(label, ""), text) for label, how, text in wanted)
        }


def joined(how, left, right):
    if not isinstance(left, dict) and not isinstance(right, dict):
        return how(left, right)
    if not isinstance(left, dict):
        return {k: how(left, v) for k, v in right.items()}
    if not isinstance(right, dict):
        return {k: how(v, right) for k, v in left.items()}
    return {k: how(v, right[k]) for k, v in left.items() if k in right}


def divided(a, b):
    return a / b if b else math.nan


def quantiles(share, buckets):
    """Quantiles by linear interpolation within the bucket, as Prometheus does."""
    series = {}
    for labels, count in buckets.items():
        bound = float(dict(labels)["le"])
        rest = frozenset(pair for pair in labels if pair[0] != "le")
        series.setdefault(rest, []).append((bound, count))
    return {labels: quantile(share, sorted(found)) for labels, found in series.items()}


def quantile(share, buckets):
    rank = share * buckets[-1][1]
    if not buckets[-1][1]:
        return math.nan
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == math.inf:
                return low
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    raise ValueError("the last bucket has no bound")
