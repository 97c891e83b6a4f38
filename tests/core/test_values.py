"""Tests of the results of functions (L{support.values}) in every executor, and of L{core.json_encoding}."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support import values
from tests.support.executor_test_case import ExecutorTestCase, get, json_of
from tests.support.properties import given, st
from tests.support.slow import slow
from twisted_appserver import InlineExecutor, ProcessExecutor
from twisted_appserver.core.json_encoding import encode
from twisted_appserver.dispatch.dispatcher import Dispatcher

PATTERNS = values.url_patterns
texts = st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.decimals()
keys = texts | st.integers(-3, 3) | st.booleans() | st.none() | st.sampled_from(["1", "true", "null", "-1"])
trees = st.recursive(
    scalars, lambda each: st.lists(each, max_size=4) | st.dictionaries(keys, each, max_size=4), max_leaves=12
)


def model(value: Any) -> Any:
    """Convert a value to JSON in a slow, simple way; raise ValueError if JSON cannot represent it."""
    if isinstance(value, dict):
        pairs = [
            (key if isinstance(key, str) else json.dumps(key), model(each)) for key, each in value.items()
        ]
        if len(dict(pairs)) < len(pairs):
            raise ValueError("equal keys")
        return dict(pairs)
    if isinstance(value, list):
        return [model(each) for each in value]
    if isinstance(value, values.Decimal):
        if not value.is_finite():
            raise ValueError("not finite")
        return str(value)
    json.dumps(value, allow_nan=False)
    return value


class ExecutorTests(ExecutorTestCase):
    async def check(self, dispatcher: Dispatcher, folders: tuple[str, ...] = ("returns",)) -> None:
        """Every value of the table is sent or refused as the table says."""
        wrong = []
        for folder in folders:
            for name, (_, expected) in values.SENT.items():
                reply = await dispatcher.dispatch(get(f"/{folder}/{name}"))
                if reply.status != 200 or json_of(reply) != expected:
                    wrong.append(f"{name}: {reply.status} {reply.body[:100]!r}")
        for name in values.REFUSED:
            reply = await dispatcher.dispatch(get(f"/refused/{name}"))
            if reply.status != 500:
                wrong.append(f"{name}: {reply.status} {reply.body[:100]!r}")
        self.assertEqual(wrong, [], "\n".join(wrong))

    async def test_every_result_of_the_table_is_encoded_on_the_reactor(self) -> None:
        executor = InlineExecutor()
        await executor.start()
        await self.check(self.dispatcher(executor, "inline", PATTERNS), ("returns", "awaits"))

    async def test_every_result_of_the_table_is_encoded_in_threads(self) -> None:
        _, dispatcher = await self.threads(2, patterns=PATTERNS)
        await self.check(dispatcher)

    async def test_every_result_of_the_table_is_encoded_in_worker_processes(self) -> None:
        executor = ProcessExecutor(reactor, "tests.support.values", 1)
        self.addCleanup(executor.stop)
        await executor.start()
        await self.check(self.dispatcher(executor, "processes"))

    async def test_log_names_the_function_and_its_result(self) -> None:
        _, dispatcher = await self.threads(1, patterns=PATTERNS)
        for name, shown in (
            ("none", "None (NoneType)"), ("text", "'text' (str)"), ("integer", "3 (int)"),
            ("tuple", "404) (tuple)"),
            ("equal_keys", "two keys of an object are both '1'"), ("object", "Opaque"),
            ("reply_inside", "a Reply is inside a result"), ("event", "yield it by itself"),
            ("event_inside", "an Event is inside a result"),
        ):  # fmt: skip
            lines = self.logged()
            await dispatcher.dispatch(get(f"/refused/{name}"))
            (line,) = [line for line in lines if " failed: " in line]
            self.assertIn(shown, line)
            self.assertIn("refused", line)


class EncodeTests(SynchronousTestCase):
    def check_model(self, value: Any) -> None:
        """Assert that the encoder and the model give the same result for a value."""
        try:
            expected = model(value)
        except ValueError:
            self.assertRaises(ValueError, encode, value)
        else:
            self.assertEqual(json.loads(encode(value)), expected)

    @given(trees)
    def test_encoder_agrees_with_a_slow_model(self, value: Any) -> None:
        """Any value is encoded like the model does it, or refused if the model refuses it."""
        self.check_model(value)

    @slow
    @given(st.lists(st.dictionaries(texts, scalars, max_size=3), max_size=3), st.integers(0, 2000))
    def test_encoder_agrees_with_a_slow_model_for_large_lists(self, rows: list[Any], place: int) -> None:
        """So are rows at any position of a large list."""
        value = [*values.ROWS, *values.ROWS]
        value[place:place] = rows
        self.check_model(value)

    def test_deep_value_is_examined_completely(self) -> None:
        """A value may be as deep as msgspec allows, and is examined down to its end."""
        value: Any = {1: None}
        for _ in range(300):
            value = [value]
        self.assertEqual(encode(value), b"[" * 300 + b'{"1":null}' + b"]" * 300)

    def test_pydantic_models_are_encoded_as_they_dump_themselves(self) -> None:
        try:
            import pydantic
        except ImportError:
            raise SkipTest("pydantic is not installed: pip install '.[works-with]'") from None

        class Inner(pydantic.BaseModel):
            at: values.datetime.date
            url: pydantic.AnyUrl

        class Outer(pydantic.BaseModel):
            inner: list[Inner]
            secret: pydantic.SecretStr

        made = Outer(inner=[Inner(at=values.DAY, url="https://a.example/")], secret="x")  # type: ignore
        self.assertEqual(json.loads(encode(made)), made.model_dump(mode="json"))
        self.assertEqual(json.loads(encode({"a": [made]})), {"a": [made.model_dump(mode="json")]})

        class Bare(pydantic.BaseModel):
            value: float

        self.assertRaises(ValueError, encode, Bare(value=values.NAN))

    def test_numpy_scalars_and_arrays_are_encoded(self) -> None:
        """Integers of numpy may be keys too."""
        try:
            import numpy as np
        except ImportError:
            raise SkipTest("numpy is not installed: pip install '.[works-with]'") from None
        value = {
            "a": [np.float64(0.5), np.int64(3), np.bool_(True), np.str_("x")],
            "b": np.eye(2),
            np.int32(7): np.float32(0.5),
        }
        expected = {"a": [0.5, 3, True, "x"], "b": [[1, 0], [0, 1]], "7": 0.5}
        self.assertEqual(json.loads(encode(value)), expected)
        for number in (np.float64("nan"), np.float32("inf"), np.array([1, np.nan])):
            self.assertRaises(ValueError, encode, {"a": number})

    def test_raw_json_is_sent_unchanged(self) -> None:
        """It does not hide other values next to it."""
        raw = msgspec.Raw(b'{ "b": [null, NaN] }')
        self.assertEqual(encode({"a": raw}), b'{"a":{ "b": [null, NaN] }}')
        self.assertRaises(ValueError, encode, {"a": raw, "c": values.NAN})
