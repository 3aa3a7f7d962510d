"""Absolute URLs, and our own recognised."""

from datetime import datetime, timedelta, timezone
from ipaddress import ip_network

import pytest
from starlette.requests import Request

from drivetrain.gateways.http.addresses import Addresses, FileUrlExpired
from drivetrain.platform.files import FileId
from drivetrain.platform.url_signature import UrlSignatures

NOW = datetime(2026, 1, 1, 12, 3, tzinfo=timezone.utc)
ID = FileId("a" * 26)


def addresses(now=NOW, **options):
    return Addresses(
        public_url=options.pop("public_url", None),
        listening_url="http://127.0.0.1:8700",
        signer=UrlSignatures([b"k" * 32]),
        now=lambda: now,
        **options,
    )


def request(path="/", client="192.0.2.1", query="", **headers):
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "client": (client, 5000),
            "server": ("192.0.2.9", 8700),
        }
    )


def test_the_address_a_connection_came_in_on_is_the_origin_whatever_the_client_calls_it():
    assert addresses().origin(request(host="evil.example")) == "http://192.0.2.9:8700"


def test_the_public_url_is_the_origin_where_there_is_one():
    assert addresses(public_url="https://models.example").origin(request(host="evil.example")) == "https://models.example"


def test_a_trusted_proxy_is_believed():
    site = addresses(trusted_proxies=[ip_network("192.0.2.0/24")])
    forwarded = {"x_forwarded_host": "models.example", "x_forwarded_proto": "https", "x_forwarded_for": "203.0.113.5"}
    assert site.origin(request(**forwarded)) == "https://models.example"
    assert site.client_address(request(**forwarded)) == "203.0.113.5"


def test_anybody_else_who_says_he_is_one_is_not():
    site = addresses(trusted_proxies=[ip_network("10.0.0.0/8")])
    assert site.origin(request(x_forwarded_host="models.example")) == "http://192.0.2.9:8700"
    assert site.client_address(request(x_forwarded_for="203.0.113.5")) == "192.0.2.1"


@pytest.mark.parametrize("host", ["a/b", "a@b", 'a"b', "a b", ""])
def test_a_host_that_is_none_is_not_put_into_urls(host):
    site = addresses(trusted_proxies=[ip_network("192.0.2.0/24")])
    assert site.origin(request(x_forwarded_host=host, host=host)) == "http://192.0.2.9:8700"


def test_a_file_url_is_recognised_by_its_signature_whatever_the_host():
    url = addresses().file_url("https://models.example", ID, "a picture ä.png")
    assert url.startswith(f"https://models.example/files/{ID}/a%20picture%20%C3%A4.png?expires=")
    assert addresses().own_file(url) == ID
    assert addresses().own_file(url.replace("models.example", "another.example")) == ID


def test_the_same_file_has_the_same_url_for_a_while_so_that_caches_work():
    later = addresses(now=NOW + timedelta(minutes=5))
    assert addresses().file_url("http://x", ID, "a") == later.file_url("http://x", ID, "a")


@pytest.mark.parametrize(
    "url", ["https://x/files/y", "https://x/a.png", "data:,x", "https://[/files/?signature=", "https://x/files/a/b?signature=c"]
)
def test_what_is_not_ours_is_not_taken_for_ours(url):
    assert addresses().own_file(url) is None


def test_one_of_ours_that_has_expired_is_told_as_such():
    url = addresses().file_url("http://127.0.0.1:8700", ID, "a.png")
    with pytest.raises(FileUrlExpired, match="has expired"):
        addresses(now=NOW + timedelta(days=3)).own_file(url)


def test_a_signed_url_lets_its_bearer_in_until_it_expires():
    site = addresses()
    path, _, query = site.signed_url("", "/v1/streams/abc").partition("?")
    assert site.is_signed(request(path, query=query))
    assert not site.is_signed(request(path + "d", query=query))
    assert not site.is_signed(request(path))
    assert not addresses(now=NOW + timedelta(days=2)).is_signed(request(path, query=query))


def test_file_references_become_urls_wherever_they_stand():
    value = {"a": [f"drivetrain://files/{ID}/x.png", "text"], "b": 1}
    shown = addresses().with_file_urls("http://h", value)
    assert shown["a"][0].startswith(f"http://h/files/{ID}/x.png?expires=")
    assert (shown["a"][1], shown["b"]) == ("text", 1)
