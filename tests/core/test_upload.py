"""Tests of uploads: the type, forms with files, and parameters that receive files."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Annotated, Any, NotRequired, TypedDict

import attrs
import msgspec
import pydantic
from twisted.trial.unittest import SynchronousTestCase

from tests.support.calling import FORM
from tests.support.properties import given, st
from twisted_appserver import Call, Reply, Router, Upload
from twisted_appserver.core.multipart_form import MAX_FIELDS, read_multipart, write_multipart
from twisted_appserver.core.request_data import read_body
from twisted_appserver.errors import HTTPError, PatternError
from twisted_appserver.testing import Client

KIND = "multipart/form-data; boundary=XX"
FILE_MISSING = "{0} is missing; send it as a file of a multipart form, as curl -F {0}=@FILE does"
PNG = Upload("a.png", "image/png", b"\x89PNG\r\n\x1a\n")


# What a form consists of, and what may confuse a parser.
PIECES = (
    b"--XX", b"--", b"\r\n", b"\n", b"\r", b": ", b"; ", b'"', b"\\", b"%0D", b"\xff", b"\0", b"'",
    b'Content-Disposition: form-data; name="a"', b"Content-Disposition: ", b"form-data", b'name="',
    b'filename="', b"filename*=UTF-8''%ff", b"Content-Length: 1", b"Content-Type: ",
)  # fmt: skip


def part(head: str, data: bytes = b"x", kind: str = "text/plain") -> bytes:
    """Return a part of a form with the boundary C{XX}."""
    lines = f"--XX\r\nContent-Disposition: form-data; {head}\r\nContent-Type: {kind}\r\n\r\n"
    return lines.encode() + data + b"\r\n"


def fields(*parts: bytes) -> list[tuple[str, Any]]:
    return list(read_multipart(b"".join(parts) + b"--XX--\r\n", KIND, lambda name: True))


class UploadTests(SynchronousTestCase):
    def test_file_name_has_no_folders(self) -> None:
        """Neither do control characters remain."""
        for given_name, name in (
            ("a.txt", "a.txt"),
            ("/etc/passwd", "passwd"),
            ("../../x", "x"),
            ("C:\\temp\\a b.txt", "a b.txt"),
            ("..", ""),
            ("a/", ""),
            ("a/..\\.", ""),
            ("ä\r\n\0.txt", "ä.txt"),
        ):
            self.assertEqual(Upload(given_name).filename, name)

    def test_uploads_of_the_same_file_are_equal(self) -> None:
        """Also after copying and pickling. Their repr does not contain the data."""
        for other in (
            Upload("a.png", "image/png", PNG.data),
            copy.copy(PNG),
            pickle.loads(pickle.dumps(PNG)),
        ):
            self.assertEqual(other, PNG)
            self.assertEqual(hash(other), hash(PNG))
        self.assertNotEqual(PNG, Upload("a.png", "image/png", b""))
        self.assertEqual(repr(PNG), "Upload('a.png', 'image/png', <8 bytes>)")


class FormTests(SynchronousTestCase):
    def test_files_and_fields_are_read_in_order(self) -> None:
        found = fields(
            part('name="a"', "ä".encode()),
            part('name="f"; filename="x.png"', b"\xff\r\n--XY", "image/png; q=1"),
            part('name="f"; filename="empty"', b""),
        )
        files = [Upload("x.png", "image/png; q=1", b"\xff\r\n--XY"), Upload("empty", "text/plain")]
        self.assertEqual(found, [("a", "ä"), ("f", files[0]), ("f", files[1])])

    def test_file_names_of_every_client_are_decoded(self) -> None:
        """Browsers escape quotes as %22, curl with a backslash; other clients use C{filename*}."""
        for head, name in (
            ('filename="ä €.txt"', "ä €.txt"),
            ('filename="a%22b%0D%0A.txt"', 'a"b.txt'),
            ('filename="a\\"b.txt"', 'a"b.txt'),
            ("filename=plain.txt", "plain.txt"),
            ('filename="C:\\x\\y.txt"', "y.txt"),
            ("filename*=UTF-8''%e2%82%ac.txt", "€.txt"),
            ("filename=\"a.txt\"; filename*=UTF-8''b.txt", "a.txt"),
        ):
            self.assertEqual(fields(part(f'name="f"; {head}'))[0][1].filename, name, head)

    def test_input_without_a_chosen_file_is_left_out(self) -> None:
        """Browsers send an empty file name and no data."""
        empty = part('name="f"; filename=""', b"", "application/octet-stream")
        self.assertEqual(fields(empty, part('name="a"')), [("a", "x")])
        self.assertEqual(fields(part('name="f"; filename=""')), [("f", Upload("", "text/plain", b"x"))])

    def test_too_many_parts_get_400(self) -> None:
        parts = [part('name="f"; filename="x"')] * MAX_FIELDS
        self.assertEqual(len(fields(*parts)), MAX_FIELDS)
        self.assertEqual(self.assertRaises(HTTPError, fields, *parts, parts[0]).status, 400)

    @given(
        st.dictionaries(
            st.text(st.characters(codec="utf-8"), min_size=1), st.binary() | st.text(), max_size=4
        )
    )
    def test_what_is_written_can_be_read(self, values: dict[str, Any]) -> None:
        values = {
            name: Upload(name, "a/b", each) if isinstance(each, bytes) else each
            for name, each in values.items()
            if "\\" not in name
        }
        body, kind = write_multipart(values)
        expected = {  # browsers would send nothing for a file without name and data
            name: each
            for name, each in values.items()
            if not isinstance(each, Upload) or each.filename or each.data
        }
        self.assertEqual(read_body(body, kind, takes_file=lambda name: True), (expected, False))

    @given(st.lists(st.sampled_from(PIECES), max_size=30))
    def test_any_body_is_read_or_gets_400(self, pieces: list[bytes]) -> None:
        """No body raises another exception. Names of files are safe."""
        try:
            found = list(read_multipart(b"--XX\r\n" + b"".join(pieces) + b"\r\n--XX--", KIND, lambda _: True))
        except HTTPError as error:
            self.assertEqual(error.status, 400)
            return
        for _, value in found:
            if isinstance(value, Upload):
                self.assertNotRegex(value.filename, r"[/\\\x00-\x1f]")

    def test_values_that_a_form_cannot_contain_are_refused(self) -> None:
        self.assertRaises(TypeError, write_multipart, {"a": {}})
        self.assertRaises(ValueError, write_multipart, {"a": Upload("x", "a\r\nb: c")})


@dataclasses.dataclass
class Data:
    title: str
    image: Upload
    count: int = 1


class Struct(msgspec.Struct):
    title: str
    image: Upload
    count: int = 1


@attrs.define
class Attrs:
    title: str
    image: Upload
    count: int = 1


class Model(pydantic.BaseModel):
    title: str
    image: Upload
    count: int = 1


class Renamed(msgspec.Struct, rename="camel"):
    cover_image: Upload
    inner: Struct


class Aliased(pydantic.BaseModel):
    cover_image: Upload | None = pydantic.Field(alias="coverImage")
    inner: Model


class Album(pydantic.BaseModel):
    images: list[Upload]
    count: int = 0


class StructAlbum(msgspec.Struct):
    images: list[Upload]
    count: int = 0


class TypedAlbum(TypedDict):
    images: list[Upload]
    count: NotRequired[int]


def shown(value: Any) -> Any:
    """Return a value with uploads as text."""
    if isinstance(value, Upload):
        return repr(value)
    return [shown(each) for each in value] if isinstance(value, list | tuple) else value


def function_of(annotation: Any, *default: Any) -> Any:
    """Return a function whose only parameter has this annotation and perhaps a default."""

    def required(p: Any) -> Any:
        return {"p": shown(p)}

    def optional(p: Any = default[0] if default else None) -> Any:
        return {"p": shown(p)}

    made = optional if default else required
    made.__annotations__["p"] = annotation
    return made


class ParameterTests(SynchronousTestCase):
    """Functions that take files."""

    def post(self, function: Any, **form: Any) -> Any:
        return Client([(r"/", function)]).post("/", form=form)

    def test_annotation_may_be_optional_a_list_or_a_union(self) -> None:
        one = repr(PNG)
        for function, form, expected in (
            (function_of(Upload), {"p": PNG}, one),
            (function_of(Annotated[Upload, "a picture"]), {"p": PNG}, one),
            (function_of(Annotated[Upload, pydantic.Field(description="x")]), {"p": PNG}, one),
            (function_of(Upload | None), {"p": PNG}, one),
            (function_of(Upload | None), {"p": "", "q": PNG}, None),
            (function_of(Upload | None, None), {"q": PNG}, None),
            (function_of(list[Upload]), {"p": PNG}, [one]),
            (function_of(list[Upload]), {"p": [PNG, PNG]}, [one, one]),
            (function_of(list[Upload], []), {"q": PNG}, []),
            (function_of(tuple[Upload, ...]), {"p": [PNG, PNG]}, [one, one]),
            (function_of(list[Upload] | None, None), {"p": PNG}, [one]),
            (function_of(list[Upload] | None, None), {"q": PNG}, None),
            (function_of(set[Upload] | None, None), {"q": PNG}, None),
            (function_of(Upload | str), {"p": PNG}, one),
            (function_of(Upload | str), {"p": "x", "q": PNG}, "x"),
        ):
            response = self.post(function, **form)
            self.assertEqual((response.status, response.json.get("p")), (200, expected), response.text)

    def test_wrong_values_get_422_with_the_name(self) -> None:
        for function, form, detail in (
            (function_of(Upload), {"q": PNG}, "p is missing"),
            (function_of(Upload), {"p": "x"}, "p must be a file in a multipart form, not 'x'"),
            (function_of(Upload), {"p": [PNG, PNG]}, "p is given twice; give it once"),
            (
                function_of(list[Upload]),
                {"p": [PNG, "x"]},
                "p[1] must be a file in a multipart form, not 'x'",
            ),
            (
                function_of(tuple[Upload, Upload]),
                {"p": PNG},
                'p must be a list of 2 items, not ["a file"]',
            ),
            (function_of(str), {"p": PNG}, "p must not be a file"),
            (function_of(int), {"p": PNG}, "p must not be a file"),
            (function_of(Any), {"p": PNG}, "p must not be a file"),
            (function_of(dict), {"q": PNG}, "q must not be a file"),
            (function_of(Upload | int), {"p": "x"}, "p must be"),
        ):
            response = self.post(function, **form)
            self.assertEqual(response.status, 422, response.text)
            self.assertTrue(response.json["detail"].startswith(detail), response.json["detail"])

    def test_message_about_a_missing_file_says_how_to_send_it(self) -> None:
        """It names the file that the request has instead."""

        def store(table: Upload, title: str = "") -> Any:
            return {}

        advice = "; send it as a file of a multipart form, as curl -F table=@FILE does"
        client = Client([(r"/", store)])
        for body, kind in ((b"a,b\n1,2\n", FORM["content-type"]), (b"{}", "application/json"), (b"", "")):
            response = client.request("POST", "/", {"content-type": kind} if kind else {}, body)
            self.assertEqual(response.json["detail"], "table is missing" + advice)
        for form, hint in (
            ({"tabel": PNG}, ", but the request has 'tabel'"),
            ({"q": PNG}, ", but the request has 'q'"),
            ({"q": PNG, "tabel": PNG}, ", but the request has 'tabel'"),
            ({"q": PNG, "r": PNG}, ""),
        ):
            self.assertEqual(self.post(store, **form).json["detail"], "table is missing" + hint)

    def test_message_about_missing_text_names_a_file_with_a_name_like_it(self) -> None:
        def add(title: str) -> Any:
            return {}

        detail = self.post(add, tilte=PNG).json["detail"]
        self.assertEqual(detail, "title is missing, but the request has 'tilte'")

    def test_json_is_no_file(self) -> None:
        response = Client([(r"/", function_of(Upload))]).post("/", json={"p": "x"})
        self.assertEqual(response.json["detail"], "p must be a file in a multipart form, not 'x'")

    def test_text_and_files_of_a_form_fill_the_only_object(self) -> None:
        for kind in (Data, Struct, Attrs, Model):

            def function(order: Any) -> Any:
                return {"title": order.title, "image": shown(order.image), "count": order.count}

            function.__annotations__["order"] = kind
            response = self.post(function, title="A", image=PNG, count="05")
            self.assertEqual(response.json, {"title": "A", "image": repr(PNG), "count": 5})
            self.assertIn("count must be a", self.post(function, title="A", image=PNG, count="x").text)
            self.assertIn("image", self.post(function, title="A", image="x").json["detail"])
            advice = FILE_MISSING.format("image")
            for response in (
                self.post(function, title="A"),
                Client([("/", function)]).post("/", {"title": "A"}),
            ):
                self.assertEqual(response.json["detail"], advice)
            detail = self.post(function, title="A", foto=PNG).json["detail"]
            self.assertEqual(detail, "image is missing, but the request has 'foto'")
            detail = self.post(function, titel="A", image=PNG).json["detail"]
            self.assertEqual(detail, "title is missing, but the request has 'titel'")

    def test_message_about_a_missing_file_has_the_name_of_the_form(self) -> None:
        """It may differ from the name in the class. An object that contains a file is no file."""
        for kind in (Renamed, Aliased):

            def function(album: Any) -> Any: ...

            function.__annotations__["album"] = kind
            detail = self.post(function, count="1").json["detail"].partition("; ")
            self.assertEqual(detail[0], "coverImage is missing")
            self.assertTrue(detail[2].startswith("send it as a file"), detail)
            self.assertEqual(self.post(function, coverImage=PNG).json["detail"], "inner is missing")

        def several(a: Struct, b: Struct) -> Any: ...

        self.assertEqual(self.post(several, count="1").json["detail"], "a is missing")

    def test_list_in_an_object_takes_one_file_or_several(self) -> None:
        for kind in (Album, StructAlbum, TypedAlbum):

            def function(album: Any) -> Any:
                images = album["images"] if isinstance(album, dict) else album.images
                return {"images": shown(images)}

            function.__annotations__["album"] = kind
            for form, expected in ((PNG, [repr(PNG)]), ([PNG, PNG], [repr(PNG)] * 2)):
                self.assertEqual(self.post(function, images=form).json, {"images": expected})
                self.assertEqual(self.post(function, images=form, count="3").json, {"images": expected})
            self.assertEqual(self.post(function, count="3").json["detail"], FILE_MISSING.format("images"))

    def test_typed_rest_receives_all_other_files(self) -> None:
        def function(a: int = 0, **files: Upload) -> Any:
            return {"a": a, "files": {name: shown(each) for name, each in files.items()}}

        response = self.post(function, a="1", b=PNG, c=PNG)
        self.assertEqual(response.json, {"a": 1, "files": {"b": repr(PNG), "c": repr(PNG)}})
        self.assertEqual(self.post(function, a=PNG).json["detail"], "a must not be a file")
        self.assertEqual(self.post(lambda **rest: rest, a=PNG).status, 422)

    def test_files_without_a_parameter_are_left_out(self) -> None:
        """The function may still find them in the body."""

        def function(call: Call, a: int) -> Any:
            return {"a": a, "found": b"\x89PNG" in call.body}

        self.assertEqual(self.post(function, a=1, b=PNG).json, {"a": 1, "found": True})

    def test_group_cannot_be_a_file(self) -> None:
        error = self.assertRaises(PatternError, Router, [(r"/(?P<p>)", function_of(Upload))])
        self.assertIn("the group 'p' is text", str(error))

    def test_upload_is_no_result(self) -> None:
        """Its data may be one."""
        self.assertEqual(self.post(lambda: {"p": PNG}).status, 500)
        response = self.post(lambda: Reply(PNG.data, headers={"content-type": PNG.content_type}))
        self.assertEqual(response.body, PNG.data)
        self.flushLoggedErrors()

    def test_job_receives_its_file_when_it_runs(self) -> None:
        body, kind = write_multipart({"p": PNG})
        client = Client([(r"/", function_of(Upload))])
        headers = {"prefer": "respond-async", "content-type": kind}
        place = client.request("POST", "/", headers, body).headers["location"]
        self.assertEqual(client.get(f"/{place}/result").json, {"p": repr(PNG)})

    def test_openapi_describes_a_file_as_binary_text(self) -> None:
        from twisted_appserver.admin.schemas import Schemas

        for annotation in (Upload, Annotated[Upload, pydantic.Field(description="x")]):
            schema = Schemas().of_type(annotation)
            self.assertEqual((schema["type"], schema["format"]), ("string", "binary"))
        self.assertEqual(Schemas().of_type(list[Upload])["items"]["format"], "binary")
        self.assertEqual(Schemas().of_type(Struct)["$ref"], "#/components/schemas/Struct")
