"""Replicate's HTTP API itself: objects, codes and headers, and what is said to those who use it wrongly."""

import base64
import hashlib
import hmac
import json
import re
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from types import MappingProxyType

import httpx
import pytest

from .conftest import HELLO, IMAGE, Platform

pytestmark = pytest.mark.slow

NEVER = "/nonexistent/file"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
IDENTIFIER = re.compile(r"[a-z0-9]{26}")


def create(platform, model="hello", prefer=None, key=None, headers=(), **inputs):
    sent = dict(headers) | ({"Prefer": prefer} if prefer else {}) | ({"Authorization": f"Bearer {key}"} if key else {})
    return platform.http.post(f"/v1/models/acme/{model}/predictions", json={"input": inputs}, headers=sent)


def get(platform, path, key=None, **query):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return platform.http.get(f"/v1{path}", params=query, headers=headers)


def until_ended(platform, prediction):
    """The prediction once it has ended; each answer is a signal, so no time is slept."""
    while prediction["status"] in ("starting", "processing"):
        prediction = platform.http.get(prediction["urls"]["get"]).json()
    return prediction


def stream_of(prediction, **headers):
    """The events of a stream, read without a key: (event, data, id)."""
    response = httpx.get(prediction["urls"]["stream"], headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert response.headers["cache-control"] == "no-store"
    assert response.text.startswith(":")
    events = []
    for block in response.text.split("\n\n"):
        fields = [line.partition(": ")[::2] for line in block.split("\n") if line and not line.startswith(":")]
        if fields:
            events.append((dict(fields)["event"], "\n".join(text for name, text in fields if name == "data"), dict(fields)["id"]))
    return events


def assert_problem(response, status, *sentences):
    body = response.json()
    assert response.status_code == status, body
    assert response.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["title"]
    for sentence in sentences:
        assert sentence in body["detail"]
    return body


@pytest.fixture(scope="session")
def stranger(platform):
    """The key of somebody else, who may deploy."""
    return platform.add_key("other", "deploy")


class TestPredictions:
    def test_a_new_prediction_has_the_members_that_clients_rely_on(self, platform):
        response = create(platform, text="you")
        prediction = response.json()
        assert response.status_code == 201
        assert set(prediction) == {
            "id", "model", "version", "input", "logs", "output", "data_removed", "error", "source", "status", "created_at", "urls",
        }  # fmt: skip
        assert IDENTIFIER.fullmatch(prediction["id"])
        assert TIME.fullmatch(prediction["created_at"])
        get = f"{platform.url}/v1/predictions/{prediction['id']}"
        assert prediction["urls"] == {"get": get, "cancel": f"{get}/cancel", "web": get}
        expected = {
            "model": "acme/hello",
            "version": platform.version("hello"),
            "input": {"text": "you"},
            "logs": "",
            "output": None,
        }
        assert {name: prediction[name] for name in expected} == expected
        assert (prediction["status"], prediction["error"], prediction["data_removed"]) == ("starting", None, False)

    def test_an_ended_prediction_has_times_and_metrics_too(self, platform):
        response = create(platform, prefer="wait", text="you")
        prediction = response.json()
        assert response.status_code == 201
        assert response.headers["preference-applied"] == "wait=60"
        assert prediction == get(platform, f"/predictions/{prediction['id']}").json()
        assert (prediction["status"], prediction["output"]) == ("succeeded", "hello you")
        assert prediction["created_at"] <= prediction["started_at"] <= prediction["completed_at"]
        assert prediction["metrics"]["letters"] == 3
        assert 0 < prediction["metrics"]["predict_time"] <= prediction["metrics"]["total_time"]

    def test_a_failed_prediction_says_why(self, platform):
        prediction = create(platform, prefer="wait", text="you", fail=True).json()
        assert (prediction["status"], prediction["error"], prediction["output"]) == ("failed", "it was told to", None)

    def test_an_expired_wait_is_answered_as_if_it_had_not_begun(self, platform, signal_file):
        response = create(platform, prefer="wait=1", text="you", wait_for=str(signal_file))
        assert response.status_code == 202
        assert response.headers["preference-applied"] == "wait=1"
        assert (response.json()["status"], response.json()["output"], response.json()["logs"]) == ("starting", None, "")
        signal_file.touch()
        assert until_ended(platform, response.json())["output"] == "hello you"

    def test_items_are_there_while_it_runs(self, platform, signal_file):
        prediction = create(platform, "stream", text="one two", wait_for=str(signal_file)).json()
        while not (shown := platform.http.get(prediction["urls"]["get"]).json())["output"]:
            assert shown["status"] in ("starting", "processing")
        assert (shown["status"], shown["output"]) == ("processing", ["one"])
        signal_file.touch()
        assert until_ended(platform, shown)["output"] == ["one", " two"]

    @pytest.mark.parametrize("form", ["{version}", "acme/hello:{version}", "acme/hello"])
    def test_a_version_has_three_forms(self, platform, form):
        version = form.format(version=platform.version("hello"))
        response = platform.http.post("/v1/predictions", json={"version": version, "input": {"text": "you"}})
        assert response.json()["version"] == platform.version("hello")

    @pytest.mark.parametrize(
        "version", ["nonsense", "0" * 64, "acme/none", "acme/hello:0", "acme/stream:{version}", "", "a:b:c", "é/x"]
    )
    def test_no_other_version_is_taken(self, platform, version):
        version = version.format(version=platform.version("hello"))
        response = platform.http.post("/v1/predictions", json={"version": version, "input": {"text": "you"}})
        assert assert_problem(response, 422, "does not exist")["title"] == "Invalid version or not permitted"

    @pytest.mark.parametrize("prefix", ["/v1", "/v1/v1", ""])
    def test_it_answers_below_every_base_url(self, platform, prefix):
        body = {"input": {"text": "you"}}
        prediction = platform.http.post(f"{prefix}/models/acme/hello/predictions", json=body, headers={"Prefer": "wait"}).json()
        assert prediction["output"] == "hello you"
        assert platform.http.get(f"{prefix}/predictions/{prediction['id']}").json() == prediction

    def test_inputs_that_do_not_fit_are_named(self, platform):
        body = assert_problem(create(platform, text=["a"], fail="perhaps"), 422, "input.text", "input.fail")
        assert body["title"] == "Input validation failed"
        assert {each["field"] for each in body["invalid_fields"]} == {"input.text", "input.fail"}

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "input"),
            ({"input": {"text": "a"}, "inputs": {}}, "inputs"),
            ({"input": "text"}, "input"),
            ({"input": {"text": "a"}, "webhook": 1}, "webhook"),
            ({"input": {"text": "a"}, "webhook": "nowhere"}, "webhook"),
            ({"input": {"text": "a"}, "webhook_events_filter": ["finished"]}, "webhook_events_filter[0]"),
        ],
    )
    def test_bodies_that_are_not_as_they_must_be_are_refused(self, platform, body, field):
        response = platform.http.post("/v1/models/acme/hello/predictions", json=body)
        assert assert_problem(response, 422, field)["invalid_fields"][0]["field"] == field

    @pytest.mark.parametrize(("content", "status"), [(b"{", 400), (b"[]", 400), (b"\xff", 400), (b"[" * 200_000, 400), (b"", 422)])
    def test_what_is_no_json_object_is_refused(self, platform, content, status):
        assert_problem(platform.http.post("/v1/predictions", content=content, headers={"Content-Type": "application/json"}), status)

    def test_a_body_beyond_the_limit_is_refused_before_it_comes(self, platform):
        connection = HTTPConnection(platform.url.removeprefix("http://"), timeout=60)
        connection.putrequest("POST", "/v1/predictions")
        for name, value in {"Authorization": f"Bearer {platform.key}", "Content-Length": str(10**12)}.items():
            connection.putheader(name, value)
        connection.endheaders(b"{")
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
        assert (response.status, body["status"]) == (413, 413)
        assert "larger than the limit" in body["detail"]

    def test_the_same_idempotency_key_gives_the_same_prediction(self, platform):
        headers = {"Idempotency-Key": "one of a kind"}
        with ThreadPoolExecutor(8) as pool:
            responses = list(pool.map(lambda _: create(platform, prefer="wait", headers=headers, text="you"), range(8)))
        assert len({response.json()["id"] for response in responses}) == 1
        assert {response.json()["output"] for response in responses} == {"hello you"}
        again = platform.http.post("/models/acme/hello/predictions", json={"input": {"text": "you"}}, headers=headers)
        assert again.json()["id"] == responses[0].json()["id"]
        assert_problem(create(platform, headers=headers, text="me"), 422, "was used for a different request")

    def test_a_cancelation_is_final(self, platform):
        prediction = create(platform, text="you", wait_for=NEVER).json()
        canceled = platform.http.post(prediction["urls"]["cancel"])
        assert canceled.status_code == 200
        assert canceled.json()["status"] == "canceled"
        assert platform.http.post(prediction["urls"]["cancel"]).json() == canceled.json()

    def test_what_has_ended_cannot_be_canceled(self, platform):
        prediction = create(platform, prefer="wait", text="you").json()
        assert platform.http.post(prediction["urls"]["cancel"]).json() == prediction

    @pytest.mark.parametrize("text", ["soon", "1", "1d"])
    def test_a_deadline_must_be_one(self, platform, text):
        assert_problem(create(platform, headers={"Cancel-After": text}, text="you"), 422, "Cancel-After")

    def test_a_deadline_is_shown(self, platform):
        prediction = create(platform, headers={"Cancel-After": "1h"}, text="you").json()
        assert TIME.fullmatch(prediction["deadline"])

    def test_lists_can_be_narrowed(self, platform):
        first, second = (create(platform, prefer="wait", text=text).json() for text in "ab")
        after = get(platform, "/predictions", created_after=second["created_at"]).json()["results"]
        assert after[-1] == second
        before = get(platform, "/predictions", created_before=second["created_at"]).json()["results"]
        assert before[0] == first
        assert get(platform, "/predictions", source="web").json() == {"next": None, "previous": None, "results": []}
        assert_problem(get(platform, "/predictions", created_after="yesterday"), 422, "created_after")
        assert_problem(get(platform, "/predictions", cursor="yesterday"), 422, "is no cursor")


class TestStreams:
    def test_a_stream_can_be_read_without_a_key_and_again(self, platform):
        prediction = create(platform, "stream", text="one two").json()
        events = stream_of(prediction)
        assert [(name, data) for name, data, _ in events] == [("output", "one"), ("output", " two"), ("done", "{}")]
        assert stream_of(prediction) == events

    def test_a_stream_is_resumed_behind_the_last_event(self, platform):
        prediction = create(platform, "stream", text="one two three").json()
        first, *rest = stream_of(prediction)
        assert stream_of(prediction, **{"Last-Event-ID": first[2]}) == rest
        assert stream_of(prediction, **{"Last-Event-ID": rest[-1][2]}) == rest[-1:]
        assert stream_of(prediction, **{"Last-Event-ID": "of another server"}) == [first, *rest]

    def test_logs_go_along_only_if_they_are_asked_for(self, platform):
        """One client fails at them, and none shows them."""
        prediction = create(platform, "stream", text="one two", fail=True, prefer="wait").json()
        assert [name for name, _, _ in stream_of(prediction)] == ["output", "error", "done"]
        prediction["urls"]["stream"] += "&logs=true"
        logs = "".join(data for name, data, _ in stream_of(prediction) if name == "logs")
        assert "ValueError: it was told to" in logs

    def test_a_failure_and_a_cancelation_end_a_stream(self, platform):
        failed = create(platform, "stream", text="one two", fail=True).json()
        assert [event[:2] for event in stream_of(failed)][1:] == [("error", "it was told to"), ("done", '{"reason":"error"}')]
        canceled = create(platform, "stream", text="one two", wait_for=NEVER).json()
        platform.http.post(canceled["urls"]["cancel"])
        assert stream_of(canceled)[-1][:2] == ("done", '{"reason":"canceled"}')

    def test_files_are_urls(self, platform):
        events = stream_of(create(platform, "frames", count=1).json())
        assert httpx.get(events[0][1]).text == "frame 0"

    def test_a_stream_has_a_url_of_its_own_that_nobody_can_guess(self, platform):
        one, other = (create(platform, "stream", text="one").json() for _ in range(2))
        wrong = [
            one["urls"]["stream"].partition("?")[0],
            one["urls"]["stream"].replace(one["id"], other["id"]),
            one["urls"]["stream"].replace("expires=", "expires=9"),
            one["urls"]["stream"][:-1] + "_",
        ]
        for url in wrong:
            assert_problem(httpx.get(url), 403, "signature is wrong")


class TestModels:
    def test_a_model_has_the_members_that_clients_rely_on(self, platform):
        model = get(platform, "/models/acme/hello").json()
        assert set(model) == {
            "url", "owner", "name", "description", "visibility", "is_official", "github_url", "paper_url", "license_url", "run_count",
            "cover_image_url", "default_example", "latest_version", "created_at",
        }  # fmt: skip
        assert set(model["latest_version"]) == {"id", "created_at", "cog_version", "openapi_schema"}
        assert re.fullmatch(r"[0-9a-f]{64}", model["latest_version"]["id"])
        assert "text" in model["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"]["properties"]

    def test_lists_are_sorted_as_asked(self, platform):
        names = [
            model["name"] for model in get(platform, "/models", sort_by="model_created_at", sort_direction="asc").json()["results"]
        ]
        assert [name for name in names if name in ("hello", "stream", "image", "frames")] == ["hello", "stream", "image", "frames"]
        newest = get(platform, "/models", sort_by="latest_version_created_at").json()["results"]
        assert [model["name"] for model in newest] != names
        assert_problem(get(platform, "/models", sort_by="name"), 422, "sort_by")

    def test_a_public_model_is_everybodys_to_run_and_nobodys_to_delete(self, platform, stranger):
        body = {"owner": "acme", "name": "open", "visibility": "public", "hardware": "cpu"}
        assert platform.http.post("/v1/models", json=body).status_code == 201
        assert get(platform, "/models/acme/open", key=stranger).json()["visibility"] == "public"
        assert_problem(platform.http.delete("/v1/models/acme/open"), 403, "only private models can be deleted")

    def test_a_model_without_versions_cannot_run(self, platform):
        body = {"owner": "acme", "name": "empty", "visibility": "private", "hardware": "cpu"}
        platform.http.post("/v1/models", json=body).raise_for_status()
        assert_problem(create(platform, "empty", text="you"), 422, "has no revision that is ready")
        assert platform.http.delete("/v1/models/acme/empty").status_code == 204
        assert_problem(get(platform, "/models/acme/empty"), 404, "there is no model 'acme/empty'")

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"hardware": "abacus"}, "is no hardware"),
            ({"visibility": "secret"}, "visibility"),
            ({"name": "No Name"}, "cannot be the name of an app"),
            ({"name": "hello"}, "already"),
            ({"price": 1}, "price"),
        ],
    )
    def test_a_model_that_cannot_be_is_not_made(self, platform, change, sentence):
        body = {"owner": "acme", "name": "odd", "visibility": "private", "hardware": "cpu", **change}
        response = platform.http.post("/v1/models", json=body)
        assert response.status_code in (400, 422)
        assert sentence in response.json()["detail"]

    def test_changes_at_once_are_all_kept(self, platform):
        body = {"owner": "acme", "name": "changed", "visibility": "private", "hardware": "cpu"}
        platform.http.post("/v1/models", json=body).raise_for_status()
        changes = {
            name: f"https://example.com/{name}" for name in ("github_url", "paper_url", "license_url", "description", "readme")
        }
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda change: platform.http.patch("/v1/models/acme/changed", json=dict([change])), changes.items()))
        model = get(platform, "/models/acme/changed").json()
        assert get(platform, "/models/acme/changed/readme").text == changes.pop("readme")
        assert {name: model[name] for name in changes} == changes
        platform.http.delete("/v1/models/acme/changed").raise_for_status()

    def test_a_model_is_made_for_oneself_alone(self, platform, stranger):
        body = {"owner": "acme", "name": "theirs", "visibility": "private", "hardware": "cpu"}
        response = platform.http.post("/v1/models", json=body, headers={"Authorization": f"Bearer {stranger}"})
        assert_problem(response, 403, "this key is for 'other', not for 'acme'")

    def test_an_old_version_can_be_deleted_and_the_newest_not(self, platform):
        platform.deploy("versions", {"predict.py": IMAGE})
        platform.deploy("versions", {"predict.py": IMAGE + "\n    # once more\n"})
        newest, oldest = (each["id"] for each in get(platform, "/models/acme/versions/versions").json()["results"])
        path = "/v1/models/acme/versions/versions"
        assert_problem(platform.http.delete(f"{path}/{newest}"), 400, "answers requests")
        assert platform.http.delete(f"{path}/{oldest}").status_code == 202
        assert_problem(platform.http.get(f"{path}/{oldest}"), 404, "there is no version")
        assert_problem(platform.http.delete("/v1/models/acme/versions"), 403, "has versions")

    def test_a_search_finds_models_with_a_score(self, platform):
        found = get(platform, "/search", query="hello").json()
        assert set(found) == {"query", "models", "collections", "pages"}
        assert found["models"][0]["model"]["name"] == "hello"
        assert set(found["models"][0]["metadata"]) == {"generated_description", "tags", "score"}
        assert_problem(get(platform, "/search"), 422, "query")
        for limit in (51, "0" * 8 + "51", "0" * 8 + "1" * 5000):
            assert_problem(get(platform, "/search", query="a", limit=limit), 422, "limit")

    @pytest.mark.parametrize("content_type", ["text/plain", "application/json", None])
    def test_a_query_may_be_of_any_type(self, platform, content_type):
        headers = {"Content-Type": content_type} if content_type else {}
        response = platform.http.request("QUERY", "/v1/models", content=b'"hello"', headers=headers)
        assert [model["name"] for model in response.json()["results"]] == ["hello"]

    def test_there_are_no_examples_and_no_readme(self, platform):
        assert get(platform, "/models/acme/hello/examples").json() == {"next": None, "previous": None, "results": []}
        assert_problem(get(platform, "/models/acme/hello/readme"), 404)


class TestDeployments:
    BODY = MappingProxyType({"name": "raw", "model": "acme/hello", "hardware": "cpu", "min_instances": 0, "max_instances": 1})

    def post(self, platform, **changes):
        return platform.http.post("/v1/deployments", json={**self.BODY, "version": platform.version("hello"), **changes})

    def test_a_deployment_lives_its_life(self, platform):
        made = self.post(platform)
        assert made.status_code == 200
        release = made.json()["current_release"]
        assert set(made.json()) == {"owner", "name", "current_release"}
        assert set(release) == {"number", "model", "version", "created_at", "created_by", "configuration"}
        assert release["configuration"] == {"hardware": "cpu", "min_instances": 0, "max_instances": 1}
        assert release["created_by"]["username"] == "acme"
        assert_problem(self.post(platform), 400, "there is a deployment 'acme/raw' already")
        changed = platform.http.patch("/v1/deployments/acme/raw", json={"max_instances": 2}).json()
        assert changed == get(platform, "/deployments/acme/raw").json()
        assert changed["current_release"]["number"] == 2
        version = f"/v1/models/acme/hello/versions/{platform.version('hello')}"
        assert_problem(platform.http.delete(version), 400, "is deployed as")
        assert platform.http.delete("/v1/deployments/acme/raw").status_code == 204
        assert_problem(get(platform, "/deployments/acme/raw"), 404)

    def test_releases_are_numbered_one_after_the_other(self, platform):
        self.post(platform, name="many").raise_for_status()

        def change(number):
            body = {"max_instances": number}
            return platform.http.patch("/v1/deployments/acme/many", json=body).json()["current_release"]["number"]

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(change, range(1, 9))) == list(range(2, 10))
        platform.http.delete("/v1/deployments/acme/many").raise_for_status()

    def test_a_deployment_is_given_another_version(self, platform):
        platform.deploy("served", {"predict.py": HELLO})
        body = {**self.BODY, "name": "served", "model": "acme/served", "version": platform.version("served")}
        platform.http.post("/v1/deployments", json=body).raise_for_status()
        platform.deploy("served", {"predict.py": HELLO.replace('"hello"', '"good bye"')})
        version = f"acme/served:{platform.version('served')}"
        changed = platform.http.patch("/v1/deployments/acme/served", json={"version": version}).json()
        assert changed["current_release"]["version"] == platform.version("served")
        body = {"input": {"text": "you"}}
        url = "/v1/deployments/acme/served/predictions"
        assert platform.http.post(url, json=body, headers={"Prefer": "wait"}).json()["output"] == "good bye you"

    def test_a_deployment_is_no_model(self, platform):
        self.post(platform, name="hidden").raise_for_status()
        assert "hidden" not in json.dumps(get(platform, "/models").json())
        assert_problem(get(platform, "/models/acme/hidden.deployment"), 404)
        platform.http.delete("/v1/deployments/acme/hidden")

    def test_a_deployment_with_runners_cannot_be_deleted(self, platform):
        self.post(platform, name="busy").raise_for_status()
        body = {"input": {"text": "you"}}
        ran = platform.http.post("/v1/deployments/acme/busy/predictions", json=body, headers={"Prefer": "wait"}).json()
        assert (ran["output"], ran["deployment"], ran["model"]) == ("hello you", "acme/busy", "acme/hello")
        assert_problem(platform.http.delete("/v1/deployments/acme/busy"), 400, "has runners", "max_instances to 0")

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"version": "0" * 64}, "has no version"),
            ({"model": "acme/stream"}, "has no version"),
            ({"hardware": "abacus"}, "is no hardware"),
            ({"min_instances": 2}, "more than max_instances"),
            ({"min_instances": -1}, "min_instances"),
            ({"max_instances": 10**6}, "max_instances"),
            ({"name": "a/b"}, "cannot be the name"),
        ],
    )
    def test_a_deployment_that_cannot_be_is_not_made(self, platform, changes, sentence):
        response = self.post(platform, **{"name": "odd", **changes})
        assert response.status_code in (400, 422)
        assert sentence in response.json()["detail"]
        assert_problem(get(platform, "/deployments/acme/odd"), 404)

    def test_a_public_model_can_be_deployed_by_everybody(self, platform, stranger):
        assert self.post(platform, name="shared").status_code == 200
        headers = {"Authorization": f"Bearer {stranger}"}
        body = dict(self.BODY, version=platform.version("hello"))
        assert_problem(platform.http.post("/v1/deployments", json=body, headers=headers), 422, "has no version")
        assert_problem(get(platform, "/deployments/acme/shared", key=stranger), 404)
        platform.http.delete("/v1/deployments/acme/shared")


@pytest.fixture(scope="module")
def trained(platform):
    """A model to train into."""
    body = {"owner": "acme", "name": "trained", "visibility": "private", "hardware": "cpu"}
    platform.http.post("/v1/models", json=body).raise_for_status()


@pytest.mark.usefixtures("trained")
class TestTrainings:
    def post(self, platform, model="hello", destination="acme/trained", **inputs):
        body = {"destination": destination, "input": inputs}
        return platform.http.post(f"/v1/models/acme/{model}/versions/{platform.version(model)}/trainings", json=body)

    def test_a_training_lives_its_life(self, platform):
        response = self.post(platform, greeting="good night")
        assert response.status_code == 201
        training = response.json()
        where = f"{platform.url}/v1/trainings/{training['id']}"
        assert training["urls"] == {"get": where, "cancel": f"{where}/cancel", "web": where}
        ended = until_ended(platform, training)
        assert ended["status"] == "succeeded", ended
        assert set(ended["output"]) == {"version", "weights"}
        assert httpx.get(ended["output"]["weights"]).text == "good night"
        assert ended["logs"] == "learning\n"
        assert create(platform, "trained", prefer="wait", text="you").json()["output"] == "good night you"
        assert ended in get(platform, "/trainings").json()["results"]
        assert ended["id"] not in json.dumps(get(platform, "/predictions").json())

    @pytest.mark.parametrize("destination", ["acme/none", "nonsense", "other/model", ""])
    def test_the_destination_must_be_there(self, platform, destination):
        assert_problem(self.post(platform, destination=destination, greeting="x"), 422, "there is no model")

    def test_inputs_of_a_training_are_checked(self, platform):
        assert_problem(self.post(platform), 422, "input.greeting")

    def test_a_model_without_a_training_has_none(self, platform):
        assert_problem(self.post(platform, "stream"), 400, "has no training")


class TestFiles:
    def upload(self, platform, content=b"notes", name="notes.txt", **form):
        return platform.http.post("/v1/files", files={"content": (name, content)}, **form)

    def test_a_file_has_the_members_that_clients_rely_on(self, platform):
        response = self.upload(platform, data={"metadata": '{"a": 1}'})
        file = response.json()
        assert response.status_code == 201
        assert set(file) == {
            "id", "name", "content_type", "size", "etag", "checksums", "metadata", "created_at", "expires_at", "urls",
        }  # fmt: skip
        assert (file["name"], file["content_type"], file["size"], file["metadata"]) == ("notes.txt", "text/plain", 5, {"a": 1})
        assert set(file["checksums"]) == {"sha256", "md5"}
        assert file["urls"] == {"get": f"{platform.url}/v1/files/{file['id']}"}
        assert platform.http.get(file["urls"]["get"]).json() == file
        assert platform.http.delete(file["urls"]["get"]).status_code == 204
        assert_problem(platform.http.get(file["urls"]["get"]), 404)

    def test_its_url_is_the_file_in_an_input(self, platform):
        """T12, whichever of the bases it was made with."""
        file = self.upload(platform, b"\x89PNG\r\n\x1a\n", "image.png").json()
        for url in (file["urls"]["get"], file["urls"]["get"].replace("/v1/", "/v1/v1/")):
            prediction = create(platform, "image", image=url).json()
            assert httpx.get(until_ended(platform, prediction)["output"]).content == b"\x89PNG\r\n\x1a\n"

    def test_an_output_is_the_file_in_an_input_too(self, platform):
        file = self.upload(platform, b"\x89PNG\r\n\x1a\n", "image.png").json()
        first = until_ended(platform, create(platform, "image", image=file["urls"]["get"]).json())
        second = until_ended(platform, create(platform, "image", image=first["output"], size=1).json())
        assert httpx.get(second["output"]).content == b"\x89PNG\r\n\x1a\n\0"

    def test_the_url_of_a_deleted_file_is_no_file(self, platform):
        file = self.upload(platform).json()
        platform.http.delete(file["urls"]["get"]).raise_for_status()
        assert_problem(create(platform, "image", image=file["urls"]["get"]), 404, "there is no file")

    def test_files_are_their_owners(self, platform, stranger):
        file = self.upload(platform).json()
        headers = {"Authorization": f"Bearer {stranger}"}
        assert_problem(platform.http.get(file["urls"]["get"], headers=headers), 404)
        assert_problem(platform.http.delete(file["urls"]["get"], headers=headers), 404)
        assert platform.http.get("/v1/files", headers=headers).json()["results"] == []

    def test_only_its_owner_can_sign_a_file_away(self, platform, stranger):
        """Each owner has a secret of its own, by which nobody signs for another."""
        file = self.upload(platform).json()

        def download(key):
            secret = get(platform, "/webhooks/default/secret", key=key).json()["key"]
            message = f"acme {file['id']} 9999999999"
            digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), message.encode(), hashlib.sha256)
            query = {"owner": "acme", "expiry": "9999999999", "signature": base64.b64encode(digest).decode()}
            return httpx.get(f"{platform.url}/v1/files/{file['id']}/download", params=query)

        assert download(platform.key).content == b"notes"
        assert_problem(download(stranger), 403, "signature is wrong")

    def test_an_upload_must_be_a_form_with_a_content(self, platform):
        assert_problem(platform.http.post("/v1/files", json={}), 415, "multipart/form-data")
        assert_problem(platform.http.post("/v1/files", files={"file": b"x"}), 422, "has no such part")

    def test_a_name_is_only_ever_a_name(self, platform):
        assert self.upload(platform, name="../../etc/passwd").json()["name"] == "passwd"


class TestCallers:
    def test_without_a_key_there_is_nothing(self, platform):
        for path in ("/models", "/predictions", "/account", "/files", "/deployments", "/models/acme/hello"):
            response = httpx.get(f"{platform.url}/v1{path}")
            assert assert_problem(response, 401)["title"] == "Unauthenticated"
            assert response.headers["www-authenticate"] == "Bearer"

    def test_anybody_may_run_what_is_open_to_anybody(self, platform):
        def change(access):
            platform.http.patch("/api/v1/apps/acme/stream", json={"access": access}).raise_for_status()

        change("public")
        try:
            url = f"{platform.url}/v1/models/acme/stream/predictions"
            prediction = httpx.post(url, json={"input": {"text": "one"}}, headers={"Prefer": "wait"}).json()
            assert prediction["output"] == ["one"]
            assert httpx.get(prediction["urls"]["get"]).json() == prediction
            assert_problem(httpx.get(f"{platform.url}/v1/predictions"), 401)
        finally:
            change("private")
        assert_problem(httpx.post(url, json={"input": {"text": "one"}}), 401)

    @pytest.mark.parametrize("scheme", ["Bearer", "Token", "token"])
    def test_old_clients_say_token(self, platform, scheme):
        headers = {"Authorization": f"{scheme} {platform.key}"}
        assert httpx.get(f"{platform.url}/v1/account", headers=headers).json()["username"] == "acme"

    def test_others_see_nothing_of_ones_own(self, platform, stranger):
        prediction = create(platform, prefer="wait", text="secret").json()
        assert_problem(get(platform, f"/predictions/{prediction['id']}", key=stranger), 404, "there is no prediction")
        assert_problem(get(platform, "/models/acme/hello", key=stranger), 404)
        headers = {"Authorization": f"Bearer {stranger}"}
        assert_problem(platform.http.post(prediction["urls"]["cancel"], headers=headers), 404)
        assert_problem(create(platform, key=stranger, text="you"), 404)
        body = {"version": prediction["version"], "input": {"text": "you"}}
        assert_problem(platform.http.post("/v1/predictions", json=body, headers=headers), 422, "may not run it")
        assert get(platform, "/predictions", key=stranger).json()["results"] == []

    def test_a_key_that_may_only_call_changes_nothing(self, platform):
        key = platform.add_key("acme", "call")
        headers = {"Authorization": f"Bearer {key}"}
        assert create(platform, key=key, prefer="wait", text="you").json()["output"] == "hello you"
        body = {"owner": "acme", "name": "more", "visibility": "private", "hardware": "cpu"}
        assert_problem(platform.http.post("/v1/models", json=body, headers=headers), 403, "scope 'deploy'")
        assert_problem(platform.http.patch("/v1/models/acme/hello", json={"description": "x"}, headers=headers), 403)

    def test_addresses_and_methods_that_are_not_there(self, platform):
        assert_problem(platform.http.get("/v1/nothing"), 404, "there is nothing at this address")
        assert_problem(platform.http.put("/v1/predictions"), 405, "does not take this method")


def test_webhooks_tell_of_what_was_asked_for(platform, receiver):
    body = {"input": {"text": "one two"}, "webhook": receiver.url, "webhook_events_filter": ["start", "completed"]}
    prediction = platform.http.post("/v1/models/acme/stream/predictions", json=body).json()
    *before, last = receiver.until("succeeded")
    assert [message["prediction"]["status"] for message in before] in ([], ["processing"])
    assert last["prediction"] == platform.http.get(prediction["urls"]["get"]).json()
    assert last["headers"]["content-type"] == "application/json"


def test_behind_tls_all_urls_are_absolute_and_files_are_not_put_into_the_answer(tmp_path):
    """T4, T7."""
    with Platform(tmp_path, "--public-url", "https://models.example.com") as running:
        running.deploy("image", {"predict.py": IMAGE})
        data = "data:image/png;base64,iVBORw0KGgo="
        prediction = create(running, "image", prefer="wait", image=data).json()
        assert prediction["status"] == "succeeded", prediction
        assert prediction["output"].startswith("https://models.example.com/files/")
        assert all(url.startswith("https://models.example.com/v1/") for url in prediction["urls"].values())
        for _ in range(101):
            create(running, "image", image=data).raise_for_status()
        assert get(running, "/predictions").json()["next"].startswith("https://models.example.com/v1/predictions?cursor=")
        file = running.http.post("/v1/files", files={"content": ("image.png", b"\x89PNG\r\n\x1a\n")}).json()
        assert file["urls"]["get"].startswith("https://models.example.com/v1/files/")
        assert create(running, "image", prefer="wait", image=file["urls"]["get"]).json()["status"] == "succeeded"
