"""Replicate's JavaScript client 1.4.0 against a platform. It fetches streams and files without the key, and keeps no pause."""

import pytest

from .conftest import ClientError

pytestmark = pytest.mark.slow

NEVER = "/nonexistent/file"


def test_run_gives_the_output(javascript):
    assert javascript('return replicate.run("acme/hello", { input: { text: "you" } })') == "hello you"


def test_run_of_a_version_that_polls_tells_its_progress(javascript, platform):
    code = """
        const seen = [];
        const options = { input: { text: "you" }, wait: { mode: "poll", interval: 20 } };
        const output = await replicate.run(`acme/hello:${version}`, options, (prediction) => seen.push(prediction.status));
        return [output, seen[0], seen.at(-1)];
    """
    assert javascript(code, version=platform.version("hello")) == ["hello you", "starting", "succeeded"]


def test_an_expired_wait_reads_starting_and_run_goes_on(javascript, signal_file):
    """T1, T15: any other status would be taken for the end."""
    code = """
        const { writeFileSync } = require("node:fs");
        const seen = [];
        const options = { input: { text: "you", wait_for: go }, wait: { mode: "block", timeout: 1 } };
        const output = await replicate.run("acme/hello", options, (prediction) => {
            if (!seen.length) writeFileSync(go, "");
            seen.push(prediction.status);
        });
        return [output, seen[0], seen.at(-1)];
    """
    assert javascript(code, go=str(signal_file)) == ["hello you", "starting", "succeeded"]


def test_progress_is_read_from_the_logs(javascript, platform):
    code = """
        const made = await replicate.predictions.create({ version, input: { text: "you" }, wait: true });
        return Replicate.parseProgressFromLogs(made.logs);
    """
    assert javascript(code, version=platform.version("hello"))["percentage"] == 1


def test_an_aborted_run_cancels_its_prediction(javascript, platform):
    code = """
        const controller = new AbortController();
        let last;
        const options = { input: { text: "you", wait_for: never }, wait: { mode: "poll", interval: 20 }, signal: controller.signal };
        await replicate.run("acme/hello", options, (prediction) => {
            last = prediction;
            if (prediction.status === "processing") controller.abort();
        });
        return last.status;
    """
    assert javascript(code, never=NEVER) == "canceled"


def test_stream_gives_text_without_the_key(javascript):
    """T5: the stream's URL is itself the right to it."""
    code = """
        const events = [];
        for await (const event of replicate.stream("acme/stream", { input: { text: "one two\\nthree" } })) events.push(event);
        return [events.join(""), events.map((event) => event.event), events.every((event) => event.id)];
    """
    text, names, have_ids = javascript(code)
    assert (text, names, have_ids) == ("one two\nthree", ["output", "output", "done"], True)


def test_a_stream_of_files_gives_files(javascript):
    """The client knows one by the path of its URL."""
    code = """
        const texts = [];
        for await (const { event, data } of replicate.stream("acme/frames", { input: { count: 2 } })) {
            if (event === "output") texts.push(await (await data.blob()).text());
        }
        return texts;
    """
    assert javascript(code) == ["frame 0", "frame 1"]


def test_a_stream_of_a_failure_raises(javascript):
    code = """
        for await (const event of replicate.stream("acme/stream", { input: { text: "one two", fail: true } }));
    """
    with pytest.raises(ClientError, match="it was told to"):
        javascript(code)


def test_a_failure_raises(javascript):
    with pytest.raises(ClientError, match="Prediction failed: it was told to"):
        javascript('return replicate.run("acme/hello", { input: { text: "you", fail: true } })')


def test_a_file_goes_in_and_one_comes_out(javascript):
    """T4, T12: a buffer is uploaded, and the output is a file although there is no TLS."""
    code = """
        const image = Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), Buffer.alloc(100_000)]);
        const output = await replicate.run("acme/image", { input: { image } });
        const bytes = Buffer.from(await (await output.blob()).arrayBuffer());
        return [bytes.equals(image), output.url().protocol];
    """
    assert javascript(code) == [True, "data:"]


def test_a_large_file_is_a_url_that_needs_no_key(javascript):
    code = """
        const image = Buffer.from("89504e470d0a1a0a", "hex");
        const output = await replicate.run("acme/image", { input: { image, size: 5_000_000 } });
        const response = await fetch(output);
        return [output.slice(0, 7), (await response.arrayBuffer()).byteLength, response.headers.get("content-type")];
    """
    assert javascript(code) == ["http://", 5_000_008, "image/png"]


def test_files_are_kept_and_deleted(javascript):
    code = """
        const file = await replicate.files.create(new File(["notes"], "notes.txt", { type: "text/plain" }), { project: 7 });
        const again = await replicate.files.get(file.id);
        const listed = (await replicate.files.list()).results.map((each) => each.id);
        const deleted = await replicate.files.delete(file.id);
        const status = await replicate.files.get(file.id).catch((error) => error.response.status);
        return [again.name, again.content_type, again.size, again.metadata, listed.includes(file.id), deleted, status];
    """
    assert javascript(code) == ["notes.txt", "text/plain", 5, {"project": 7}, True, True, 404]


def test_cancel_ends_a_prediction(javascript, platform):
    code = """
        const made = await replicate.predictions.create({ version, input: { text: "you", wait_for: never } });
        const canceled = await replicate.predictions.cancel(made.id);
        return (await replicate.wait(canceled, { interval: 20 })).status;
    """
    assert javascript(code, version=platform.version("hello"), never=NEVER) == "canceled"


def test_pages_lead_to_every_prediction_once(javascript, many_predictions):
    """T7: the links between them are absolute."""
    code = """
        const ids = [];
        for await (const page of replicate.paginate(replicate.predictions.list)) ids.push(...page.map((each) => each.id));
        return ids;
    """
    ids = javascript(code)
    assert set(many_predictions) <= set(ids)
    assert len(set(ids)) == len(ids)


def test_models_are_found(javascript):
    code = """
        const model = await replicate.models.get("acme", "hello");
        const listed = (await replicate.models.list()).results.map((each) => each.name);
        const found = (await replicate.models.search("hello")).results.map((each) => each.name);
        const versions = (await replicate.models.versions.list("acme", "hello")).results;
        const version = await replicate.models.versions.get("acme", "hello", versions[0].id);
        return [model.name, listed.includes("stream"), found, version.id === model.latest_version.id];
    """
    assert javascript(code) == ["hello", True, ["hello"], True]


def test_a_deployment_runs(javascript, platform):
    code = """
        const made = await replicate.deployments.create(
            { name: "js", model: "acme/hello", version, hardware: "cpu", min_instances: 0, max_instances: 1 });
        const prediction = await replicate.deployments.predictions.create("acme", "js", { input: { text: "you" }, wait: true });
        const changed = await replicate.deployments.update("acme", "js", { max_instances: 2 });
        const listed = (await replicate.deployments.list()).results.map((each) => each.name);
        return [made.current_release.number, prediction.output, changed.current_release.number, listed.includes("js")];
    """
    assert javascript(code, version=platform.version("hello")) == [1, "hello you", 2, True]


def test_a_training_makes_a_version(javascript, platform):
    code = """
        await replicate.models.create("acme", "tuned3", { visibility: "private", hardware: "cpu" });
        let training = await replicate.trainings.create(
            "acme", "hello", version, { destination: "acme/tuned3", input: { greeting: "hola" } });
        while (!["succeeded", "failed", "canceled"].includes(training.status)) training = await replicate.trainings.get(training.id);
        return [training.status, await replicate.run("acme/tuned3", { input: { text: "you" } })];
    """
    assert javascript(code, version=platform.version("hello")) == ["succeeded", "hola you"]


def test_webhooks_are_verified_by_the_client(javascript, platform, receiver):
    code = """
        const options = { version, input: { text: "you" }, webhook: url, webhook_events_filter: ["completed"] };
        return (await replicate.predictions.create(options)).id;
    """
    prediction_id = javascript(code, version=platform.version("hello"), url=receiver.url)
    [message] = receiver.until("succeeded")
    assert message["prediction"]["id"] == prediction_id
    verify = """
        const secret = await replicate.webhooks.default.secret.get();
        return Replicate.validateWebhook({ headers, body }, secret.key);
    """
    assert javascript(verify, headers=message["headers"], body=message["body"]) is True
    assert javascript(verify, headers=message["headers"], body=message["body"] + " ") is False


def test_account_hardware_and_collections(javascript):
    code = """
        const account = await replicate.accounts.current();
        const hardware = await replicate.hardware.list();
        const collection = await replicate.collections.get("acme");
        return [account.username, hardware[0].sku, collection.models.length > 3];
    """
    assert javascript(code) == ["acme", "cpu", True]


def test_reads_of_predictions_are_not_cached(javascript):
    """T15: a framework that keeps answers would poll for ever."""
    code = """
        const made = await replicate.predictions.create({ model: "acme/hello", input: { text: "you" } });
        const response = await replicate.request(`/predictions/${made.id}`, {});
        return response.headers.get("cache-control");
    """
    assert javascript(code) == "no-store"


@pytest.mark.parametrize(
    ("code", "status", "sentence"),
    [
        ('new Replicate({ auth: "dt_wrong", baseUrl: replicate.baseUrl }).models.list()', 401, "API key"),
        ('replicate.models.get("acme", "nothing")', 404, "there is no model 'acme/nothing'"),
        ('replicate.run("acme/hello", { input: { text: ["a"] } })', 422, "input.text"),
    ],
)
def test_errors_say_what_is_wrong(javascript, code, status, sentence):
    with pytest.raises(ClientError) as caught:
        javascript(f"return {code}")
    assert caught.value.status == status
    assert sentence in caught.value.message


def test_a_base_url_without_the_version_in_it_works_too(javascript, platform):
    code = 'return new Replicate({ baseUrl: url }).run("acme/hello", { input: { text: "you" } })'
    assert javascript(code, url=platform.url) == "hello you"
