"""Types that authors annotate with."""

import io
import os
import pathlib
import pickle
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cog import File, Path, Secret, URLFile, URLPath
from cog.types import get_filename


@pytest.fixture
def url():
    """An HTTP server that answers everything with ``hello``."""

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield "http://127.0.0.1:%d" % server.server_port
        server.shutdown()
        thread.join()


def test_a_path_is_a_path_like_any_other(tmp_path):
    path = Path(tmp_path) / "a.txt"
    path.write_text("x")
    assert type(path) is Path
    assert isinstance(path, pathlib.PosixPath)
    assert os.fspath(path) == str(tmp_path / "a.txt")
    assert path == pathlib.Path(tmp_path, "a.txt")
    with open(path) as file:
        assert file.read() == "x"


def test_a_path_of_a_url_is_fetched_on_demand(url):
    path = Path.validate(url + "/some%20picture.png?size=1")
    assert isinstance(path, URLPath)
    assert str(path) == url + "/some%20picture.png?size=1"
    fetched = path.convert()
    assert fetched.read_bytes() == b"hello"
    assert fetched.name.endswith("some picture.png")
    path.unlink()
    path.unlink(missing_ok=True)
    assert not fetched.exists()


def test_a_local_path_is_left_alone():
    assert type(Path.validate("a.png")) is Path
    plain = pathlib.Path("a.png")
    assert Path.validate(plain) is plain


def test_paths_derived_from_a_url_path_have_no_url():
    path = Path.validate("data:text/plain,x")
    assert path.suffix == ".txt"
    assert str(path.with_suffix(".md")) == "file.md"


def test_a_file_is_made_of_urls(url):
    assert File.validate("data:text/plain;base64,aGk=").read() == b"hi"
    with File.validate(url + "/a.bin") as file:
        assert (file.name, file.read()) == ("a.bin", b"hello")
    memory = io.BytesIO()
    assert File.validate(memory) is memory
    with pytest.raises(ValueError, match="'ftp://x' is not a URL that can be opened"):
        File.validate("ftp://x")


def test_a_url_file_is_opened_late_and_survives_pickling(url):
    file = pickle.loads(pickle.dumps(URLFile("http://nowhere.invalid/a.bin", filename="b.bin")))
    assert (file.name, repr(file)) == ("b.bin", "URLFile('http://nowhere.invalid/a.bin')")
    with URLFile(url) as reachable:
        assert reachable.status == 200
        assert list(reachable) == [b"hello"]
    with pytest.raises(ValueError, match="is not a URL that starts with"):
        URLFile("file:///etc/hosts")


def test_a_secret_does_not_show():
    secret = Secret("hunter2")
    assert "%s %r" % (secret, secret) == "********** Secret('**********')"
    assert secret.get_secret_value() == secret.secret_value == "hunter2"
    assert (str(Secret()), len(secret), bool(Secret(""))) == ("", 7, False)
    assert {secret, Secret("hunter2")} == {secret}
    assert pickle.loads(pickle.dumps(secret)) == secret


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/dir/a%20b.png?x=1", "a b.png"),
        ("https://host/a%2Fb", "a_b"),
        ("data:image/png;base64,AA==", "file.png"),
        ("data:application/x-unheard-of,x", "file"),
    ],
)
def test_file_names_follow_urls(url, name):
    assert get_filename(url) == name


def test_long_file_names_are_shortened_and_keep_their_suffix():
    name = get_filename("https://host/" + "ä" * 300 + ".png")
    assert len(name.encode()) <= 200
    assert name.endswith("~.png")
