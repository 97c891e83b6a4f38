"""Tests of L{core.regex_safety}: it reports the expressions for which C{re} takes long, and no others."""

from __future__ import annotations

import json
import string
import subprocess
import sys
from itertools import permutations
from unittest import skipUnless
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.support import cases
from tests.support.slow import slow
from twisted_appserver.core import regex_safety
from twisted_appserver.core.regex_safety import EXPONENTIAL, MINUTES, SECOND, UNKNOWN, slowness
from twisted_appserver.core.routes import flatten
from twisted_appserver.core.strong_components import strong_components
from twisted_appserver.tqueue import url_patterns as queues

LENGTH = 8000  # the length of a path
LIMIT = 0.12  # seconds of processor time for one match
QUICK = 0.03  # seconds; an expression that is not reported must not need more

# Slow expressions, each with the text that makes it slow if it is repeated before a character that does not
# match.
SLOW = (
    (EXPONENTIAL, r"(?:a|aa)+", "a"),
    (EXPONENTIAL, r"(?:a?a)+", "a"),
    (EXPONENTIAL, r"(?:\w\w?)+", "a"),
    (EXPONENTIAL, r"(?:\w{1,3}-?)+", "a"),
    (EXPONENTIAL, r"(?:\d{1,3},?)+", "1"),
    (EXPONENTIAL, r"(?:a|b|ab)*", "ab"),
    (EXPONENTIAL, r"(a+)+", "a"),
    (EXPONENTIAL, r"(a*)*b", "a"),
    (EXPONENTIAL, r"([a-z]+)*/", "a"),
    (EXPONENTIAL, r"(?:\w+\s?)*$", "a"),
    (EXPONENTIAL, r"(.*)+", "a"),
    (EXPONENTIAL, r"(\d|\d\d|[0-9])+x", "1"),
    (EXPONENTIAL, r"(?:a|a)*", "a"),
    (EXPONENTIAL, r"([a-zA-Z]+[0-9]*)*", "a"),
    (EXPONENTIAL, r"^(([a-z])+.)+[A-Z]([a-z])+$", "a"),
    (EXPONENTIAL, r"(?P<a>(x+x+)+)y", "x"),
    (EXPONENTIAL, r"((ab)*)*", "ab"),
    (EXPONENTIAL, r"(.|\w)*", "a"),
    (EXPONENTIAL, r"(?:a?b?)*c", "ab"),
    (EXPONENTIAL, r"(?:(a*)*b)*c", "b"),
    (EXPONENTIAL, r"(?=(?:a+)+b)a+", "a"),
    (EXPONENTIAL, r"(?i:(?:a|AA)*)b", "aA"),
    (EXPONENTIAL, r"(?:[\w-]+\.?)+", "-"),
    (EXPONENTIAL, r"(?:[^/-]+-?)+", "."),
    (EXPONENTIAL, r"(?:\w+-?\w*)+", "a"),
    (EXPONENTIAL, r"(?:aa|aaa)*b", "a"),
    (EXPONENTIAL, r"(?:(?:a|b)+c?)*", "ab"),
    (EXPONENTIAL, "(?:[\u0430-\u044f]+,?)+", "\u044f"),
    (EXPONENTIAL, r"(a?){30}a{30}", "a" * 29),
    (EXPONENTIAL, r"(?:(?:ab)?){40}c", "ab" * 20),
    (EXPONENTIAL, r"(?:\w{1,2}){1,60}!", "a"),
    (EXPONENTIAL, r"(?:(?>a)|aa)+b", "a"),
    (EXPONENTIAL, r"(?:(?>a)|(?>a))+b", "a"),
    (EXPONENTIAL, r"(?>(?:a|aa)+b)c", "a"),
    (EXPONENTIAL, r"(?:(?:a|aa)+b)*+c", "a"),
    (EXPONENTIAL, r"(?:(?>a)b?|ab)+c", "ab"),
    (EXPONENTIAL, r"(?:(?>a+?)a*)+b", "a"),
    (EXPONENTIAL, r"(?:a?+a?)+b", "a"),
    (MINUTES, r"(?:[a-z]+-?){1,15}", "a"),
    (MINUTES, r"[^/]+-[^/]+-[^/]+", "-"),
    (MINUTES, r"\w+\d+\w+x", "1"),
    (MINUTES, r".*,.*,.*", ","),
    (SECOND, r"[^/]+-[^/]+", "-"),
    (SECOND, r"\w+\d+x", "1"),
    (SECOND, r"(?P<a>.+)/(?P<b>.+)/", "/"),
    (SECOND, r"(?:a+,)*a+,(?:a|,)*", "a,"),
    (SECOND, r"\w+(?=.*x)y", "a"),
)

# Common expressions.
ORDINARY = (
    r"(?P<a>[^/]+)/get/(?P<b>\d+)/",
    r"articles/(?P<year>[0-9]{4})/(?P<month>[0-9]{2})/(?P<slug>[-a-zA-Z0-9_]+)/",
    r"(?P<slug>[-\w]+)-(?P<pk>\d+)/",
    r"(?P<a>\w+)-(?P<b>\w+)",
    r"(?:page-(?P<n>\d+)/)?",
    r"(?P<lang>[a-z]{2}(?:-[a-z]{2})?)/(?P<rest>.*)",
    r"reset/(?P<uidb64>[0-9A-Za-z_\-]+)/(?P<token>[0-9A-Za-z]{1,13}-[0-9A-Za-z]{1,20})/",
    r"(?P<uidb64>[0-9A-Za-z_\-]+)/(?P<token>.+)/",
    r"(?P<app>.+)/(?P<model>\w+)/(?P<id>\d+)/",
    r"(?P<path>.+)\.(?P<ext>[a-z]+)",
    r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
    r"(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}",
    r"(?:\d{1,3}\.){3}\d{1,3}",
    r"(?:[a-z]{1,63}\.){1,10}[a-z]{2,6}",
    r"[\w.+-]+@[\w-]+\.[\w.]+",
    r"\w{1,20}\w{1,20}!",
    r"(?P<n>\d{1,50})x(?P<m>\d{1,50})",
    r"(?!.*\.\.)[\w./]+",
    r"(?:(?!--)[\w-])+",
    r"(?P<q>\"[^\"]*\"|\w+)",
    r"(?P<v>v\d+(?:\.\d+)*)",
    r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?",
    r"(?:\w+=\w+&)*\w+=\w+",
    r"(?:;\w+=\w+)*",
    r"(?:/[^/]+)+/?",
    r"(?:[a-z]+/)*",
    r"(?P<path>.*)",
    r"(?s:.*)",
    r"(ab|cd)*",
    r"(ab|ac)*",
    r"(a+b)+",
    r"a+b*c+",
    r"(?:\w++-?)+",
    r"(?>a|aa)+b",
    r"(?>aa|a)+b",
    r"(?>a+?)+b",
    r"(?:a|aa)++b",
    r"(?:(?:a|aa)++b)?c",
    r"(?:(?>a+)b?)+c",
    r"(?>(?>a|aa)+b)*c",
    r"(?P<a>[^/]+)/(?P<b>[^/]+)/(?P<c>[^/]+)(?:\.(?P<f>json|xml))?/?",
    r"(?i:[a-z]+)/(?P<a>(?-i:[A-Z])\w*)",
    r"(?P<a>\w)(?P=a)?/(?P<b>x)?(?(b)y|z)",
)

MATCH = """\
import json, re, signal, sys, time

class Late(Exception):
    pass

def late(*_):
    raise Late

signal.signal(signal.SIGVTALRM, late)
limit, pairs = json.load(sys.stdin)
times = []
for regex, text in pairs:
    pattern, begun = re.compile(regex), time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        pattern.fullmatch(text)
        times.append(time.process_time() - begun)
    except Late:
        times.append(limit)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
print(json.dumps(times))
"""


def times(pairs: list[tuple[str, str]]) -> list[float]:
    """Return the seconds of processor time that C{re} needs for each text, at most L{LIMIT}."""
    done = subprocess.run(
        [sys.executable, "-c", MATCH],
        input=json.dumps([LIMIT, pairs]),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def attacks(regex: str) -> list[str]:
    """Return long texts of one or two characters of an expression, followed by another character."""
    letters = sorted(
        {*"a1-./ ,é"} | {each for each in regex if each in string.ascii_letters + string.punctuation}
    )
    pairs = [one + two for one, two in permutations(letters, 2)][:: max(1, len(letters) // 3)]
    return [pump * (LENGTH // len(pump)) + "\n\0" for pump in letters + pairs]


class SlownessTests(SynchronousTestCase):
    timeout = 120

    def test_slow_patterns_are_reported(self) -> None:
        """Each expression that some text makes slow is reported, with about how long it takes."""
        for expected, regex, _ in SLOW:
            self.assertEqual(slowness(regex), expected, regex)

    @slow
    @skipUnless(hasattr(__import__("signal"), "setitimer"), "a match cannot be interrupted here")
    def test_reported_patterns_are_slow(self) -> None:
        """C{re} does take long for each reported expression."""

        def pairs(length: int, regexes: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
            repeated = [
                (regex, pump, length // len(pump) if len(pump) < 3 else 1) for _, regex, pump in regexes
            ]
            return [(regex, pump * count + "\n!/") for regex, pump, count in repeated]

        whole = dict(zip(SLOW, times(pairs(LENGTH, SLOW)), strict=True))
        quadratic = [each for each in SLOW if each[0] == SECOND]
        # Other work of the machine only makes a match longer, so the shortest of three times is right.
        halves = zip(*(times(pairs(LENGTH // 2, quadratic)) for _ in range(3)), strict=True)
        half = {each: min(needed) for each, needed in zip(quadratic, halves, strict=True)}
        for each, needed in whole.items():  # some machines need less than the limit for quadratic ones
            self.assertGreaterEqual(needed, min(LIMIT, 2.5 * half.get(each, LIMIT)), each[1])

    def test_ordinary_patterns_are_not_reported(self) -> None:
        """Common expressions, and the patterns of our own tables, are not reported."""
        for regex in ORDINARY:
            self.assertEqual(slowness(regex), "", regex)
        for table in (cases.url_patterns, queues(reactor=object())):
            for _, regex, *_ in flatten(table):
                self.assertEqual(slowness(regex), "", regex)

    @skipUnless(hasattr(__import__("signal"), "setitimer"), "a match cannot be interrupted here")
    def test_patterns_that_are_not_reported_are_quick(self) -> None:
        """C{re} is quick with each expression that is not reported, whatever the text."""
        pairs = [(regex, text) for regex in ORDINARY for text in attacks(regex)]
        for (regex, text), needed in zip(pairs, times(pairs), strict=True):
            self.assertLess(needed, QUICK, (regex, text[:9]))

    def test_pattern_that_cannot_be_checked_is_reported_as_unknown(self) -> None:
        """It is too complex, or this Python has no parser."""
        for regex in (r"(?:(\w)\1)+", r"(?:a*|b*|c*){16}d"):
            self.assertEqual(slowness(regex), UNKNOWN, regex)
        with patch.object(regex_safety, "parser", None):
            self.assertEqual(slowness(r"a"), UNKNOWN)

    @slow
    def test_large_patterns_are_checked_in_bounded_time(self) -> None:
        for regex in (
            r"(?:\w{1,60}-){1,900}",
            r"(?:\d{1,900}x?){1,900}",
            "|".join(f"a{i}+" for i in range(300)),
        ):
            self.assertIn(slowness(regex), ("", EXPONENTIAL, MINUTES, UNKNOWN))


class ComponentsTests(SynchronousTestCase):
    def test_components_are_returned_last_ones_first(self) -> None:
        graph = {1: [2], 2: [3, 4], 3: [1], 4: [5], 5: [4, 6], 6: [], 7: [1]}
        found = [sorted(group) for group in strong_components([1, 7], graph.__getitem__)]
        self.assertEqual(found, [[6], [4, 5], [1, 2, 3], [7]])
