"""One application for all gateways."""

import asyncio
import contextlib
from datetime import datetime, timezone

import httpx
import pytest
from starlette.responses import PlainTextResponse

from drivetrain.gateways.http.answer import Json
from drivetrain.gateways.http.body import read_object
from drivetrain.gateways.http.guard import Admits, Guard
from drivetrain.gateways.http.refusal import headers_of, status_of
from drivetrain.gateways.http.shell import Gateway, Shell, ShellHooks
from drivetrain.model.errors import BadRequest
from drivetrain.platform.access import Caller, Unauthenticated
from drivetrain.platform.key import ApiKey, Scope

KEY = ApiKey(
    id="k", digest="", owner="me", scope=Scope.CALL, name="", hint="", created_at=datetime(2026, 1, 1, tzinfo=timezone.utc)
)


class Keys:
    """Knows one key."""

    async def authenticate(self, key):
        if key not in (None, "right"):
            raise Unauthenticated("wrong key")
        return Caller(key=KEY) if key else Caller()


class Teller:
    def __init__(self):
        self.lines, self.bugs = [], []

    @property
    def hooks(self):
        return ShellHooks(access=self.lines.append, bug=lambda sentence, _traceback: self.bugs.append(sentence))


async def hello(_request, _caller):
    return PlainTextResponse("hello")


async def echo(request, _caller):
    return Json(await read_object(request, limit=100))


async def refuse(_request, _caller):
    raise BadRequest("no such thing", hint="try another")


async def crash(_request, _caller):
    raise ZeroDivisionError("oh")


def gateway(name, prefix, **options):
    guard = Guard(Keys())
    return Gateway(
        name=name,
        prefixes=(prefix,),
        routes=[
            guard.route(f"{prefix}/open", hello, "GET", admits=Admits.ANYBODY),
            guard.route(f"{prefix}/callers", hello, "GET", admits=Admits.CALLERS),
            guard.route(f"{prefix}/keys", hello, "GET"),
            guard.route(f"{prefix}/echo", echo, "POST", admits=Admits.ANYBODY),
            guard.route(f"{prefix}/refuse", refuse, "GET", admits=Admits.ANYBODY),
            guard.route(f"{prefix}/crash", crash, "GET", admits=Admits.ANYBODY),
        ],
        render_error=lambda error: Json({name: error.message}, status_of(error), headers=headers_of(error)),
        **options,
    )


@pytest.fixture
def teller():
    return Teller()


@pytest.fixture
def ask(teller):
    """Sends one request to two gateways behind one shell."""
    shell = Shell(
        [gateway("one", "/a"), gateway("two", "/a/b", is_logged=False)], cors_origin="https://page.example", hooks=teller.hooks
    )
    client = httpx.AsyncClient(transport=httpx.ASGITransport(shell), base_url="http://test")

    def send(method, path, **options):
        return asyncio.run(client.request(method, path, **options))

    return send


def test_the_longest_prefix_decides_whose_request_it_is(ask):
    assert ask("GET", "/a/nothing").json() == {"one": "there is nothing at this address"}
    assert ask("GET", "/a/b/nothing").json() == {"two": "there is nothing at this address"}
    assert ask("GET", "/ab").json() == {"one": "there is nothing at this address"}
    assert ask("GET", "/a/b/open").text == "hello"


def test_a_method_that_a_route_does_not_take_is_named_with_those_it_takes(ask):
    answer = ask("DELETE", "/a/open")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/a/keys", None, 401),
        ("/a/keys", "Bearer right", 200),
        ("/a/keys", "Token right", 200),
        ("/a/keys", "key right", 200),
        ("/a/keys", "Bearer wrong", 401),
        ("/a/keys", "Basic right", 401),
        ("/a/keys", "Bearer", 401),
        ("/a/callers", None, 200),
        ("/a/callers", "Bearer wrong", 401),
        ("/a/open", "Bearer wrong", 200),
    ],
)
def test_a_route_lets_in_whom_it_says(ask, path, header, status):
    assert ask("GET", path, headers={"Authorization": header} if header else {}).status_code == status


def test_an_error_is_answered_in_the_gateways_own_form(ask):
    answer = ask("GET", "/a/refuse")
    assert (answer.status_code, answer.json()) == (400, {"one": "no such thing"})


def test_a_bug_of_ours_is_told_to_the_log_and_not_to_the_client(ask, teller):
    answer = ask("GET", "/a/crash")
    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    assert teller.bugs == ["ZeroDivisionError: oh"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"content": b"x" * 101}, 413),
        ({"content": b"{"}, 400),
        ({"content": b"[1]"}, 400),
        ({"content": b"a=1", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 415),
        ({"content": b""}, 200),
        ({"json": {"a": 1}}, 200),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(ask, options, status):
    assert ask("POST", "/a/echo", **options).status_code == status


def test_every_answer_has_a_request_id_which_the_client_may_choose(ask):
    assert ask("GET", "/a/open", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    made_up = ask("GET", "/a/open", headers={"X-Request-Id": 'a"b c'}).headers["x-request-id"]
    assert len(made_up) == 32


def test_every_answer_keeps_browsers_from_misusing_it(ask):
    for path in ("/a/open", "/a/refuse", "/nothing"):
        headers = ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_pages_of_the_origin_that_is_allowed_may_call(ask):
    answer = ask("OPTIONS", "/a/keys", headers={"Origin": "https://page.example", "Access-Control-Request-Method": "GET"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert "Authorization" in answer.headers["access-control-allow-headers"]


def test_each_request_has_a_line_in_the_log_without_its_query(ask, teller):
    ask("GET", "/a/open?signature=secret", headers={"X-Request-Id": "x"})
    ask("GET", "/a/b/open")
    (line,) = teller.lines
    assert (line.gateway, line.method, line.path, line.status, line.request_id) == ("one", "GET", "/a/open", 200, "x")


def test_a_path_is_logged_as_it_came_so_that_nobody_writes_lines_of_their_own(ask, teller):
    ask("GET", "/a/%1b[2J%0aGET%20/admin%C3%A9")
    assert [line.path for line in teller.lines] == ["/a/%1b[2J%0aGET%20/admin%C3%A9"]


def test_requests_are_counted_by_gateway_method_and_status():
    shell = Shell([gateway("one", "/a")])

    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(shell), base_url="http://test") as client:
            for method, path in (("GET", "/a/open"), ("GET", "/a/refuse"), ("BREW", "/a/open")):
                with contextlib.suppress(httpx.HTTPError):
                    await client.request(method, path)

    asyncio.run(send())
    assert dict(shell.statistics.answered) == {("one", "GET", 200): 1, ("one", "GET", 400): 1, ("one", "other", 405): 1}
    assert sum(shell.statistics.seconds["one"].counts) == 3
