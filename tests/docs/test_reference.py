"""What the code offers is documented, and what the reference lists is offered."""

import ast
import importlib
import importlib.util
import pkgutil
import re

import httpx

import drivetrain
from drivetrain.dialects.cog import build_section, config, environment_variables, scaffold
from drivetrain.gateways.http.refusal import status_of
from drivetrain.model.errors import DrivetrainError
from drivetrain.model.finding import Severity
from drivetrain.model.prediction import Status
from drivetrain.serving.http.application import describe


def load_generator(root):
    specification = importlib.util.spec_from_file_location("generate_reference", root / "scripts" / "generate_reference.py")
    generator = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(generator)
    return generator


def trees(root, place):
    return [ast.parse(path.read_text(encoding="utf-8")) for path in (root / "src").glob(place)]


def calls(root, place, names):
    """Calls of functions of certain names."""
    for tree in trees(root, place):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in names:
                yield node


def texts_in(call):
    """The texts that a call is given, in order."""
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]


def test_generated_pages_are_as_make_docs_writes_them(root, pages):
    generator = load_generator(root)
    settings = pages["docs/reference/settings.md"].text
    assert pages["docs/reference/command-line.md"].text == generator.command_line_page()
    assert settings == generator.settings_page(settings)
    assert {name for name, _, _ in generator.documented_settings()} >= {"DRIVETRAIN_CACHE_DIR", "DRIVETRAIN_UV"}


def test_every_variable_that_is_read_is_documented(root, pages):
    read = set()
    for tree in trees(root, "**/*.py"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get" and node.args:
                read.add(getattr(node.args[0], "value", None))
            elif isinstance(node, ast.Subscript):
                read.add(getattr(node.slice, "value", None))
            elif isinstance(node, ast.Dict):
                read.update(getattr(key, "value", None) for key in node.keys)
    variables = {name for name in read if isinstance(name, str) and re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", name)}
    documented = pages["docs/reference/settings.md"].text + pages["docs/reference/environments.md"].text
    documented += pages["docs/reference/images.md"].text
    assert variables
    assert {name for name in variables if name not in documented} <= {"UV_HTTP_RETRIES"}  # is set for uv, not read


def known_keys():
    gone = {*config.GONE_KEYS, *(f"build.{key}" for key in build_section.GONE_KEYS), "concurrency.default_target"}
    inner = {"build": build_section.KEYS, "concurrency": config.CONCURRENCY_KEYS, "concurrency.batch": config.BATCH_KEYS}
    return config.KEYS | {f"{section}.{key}" for section, keys in inner.items() for key in keys}, gone


def test_every_key_of_the_config_is_documented_and_no_other(pages):
    page = pages["docs/reference/cog-yaml.md"]
    keys, gone = known_keys()
    assert set(page.first_column("Keys")) == keys
    assert set(re.findall(r"`([a-z_.]+)`", page.section("Keys that Cog had once"))) == gone


def test_every_reserved_variable_is_documented(pages):
    section = pages["docs/reference/cog-yaml.md"].section("environment")
    for name in (*environment_variables.RESERVED_NAMES, *environment_variables.RESERVED_PREFIXES):
        assert f"`{name}`" in section


def all_errors():
    for module in pkgutil.walk_packages(drivetrain.__path__, "drivetrain."):
        if not module.name.endswith("__main__") and ".templates" not in module.name:
            importlib.import_module(module.name)
    found, new = set(), {DrivetrainError}
    while new:
        found |= new
        new = {derived for cls in new for derived in cls.__subclasses__()} - found
    return {cls for cls in found if cls.__module__.startswith("drivetrain.")} - {DrivetrainError}


def test_every_error_is_documented_with_its_code_and_class(pages):
    table = pages["docs/reference/errors.md"].section("Errors in the code")
    documented = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", table, re.MULTILINE))
    assert documented == {cls.code: cls.__name__ for cls in all_errors()}


def test_http_statuses_of_errors_are_those_that_are_answered(pages):
    rows = re.findall(r"^\| `\w+` \| `(\w+)` \|.*\| (\d*) ?\| (\d*) ?\|$", pages["docs/reference/errors.md"].text, re.MULTILINE)
    errors = {cls.__name__: cls for cls in all_errors()}
    own = {"InvalidBody", "InvalidVersion"}  # have statuses of their gateway's
    assert len(rows) > 30
    for name, of_serve, of_platform in rows:
        if of_platform and name not in own:
            assert (name, int(of_platform)) == (name, status_of(errors[name].__new__(errors[name])))
        if of_serve:
            assert (name, int(of_serve)) == (name, status_of_serve(errors[name]))


def status_of_serve(kind):
    error = kind.__new__(kind)
    error.message, error.problems = "", ()
    return describe(error)[0]


def test_every_finding_is_documented(root, pages):
    texts = [
        texts_in(call)
        for call in calls(root, "drivetrain/**/*.py", {"error", "warn", "_error", "_warn", "_Refused", "Finding", "_project_error"})
    ]
    codes = {text for given in texts for text in given[:1] if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text)}
    assert len(codes) > 30
    assert set(pages["docs/reference/errors.md"].first_column("Findings")) == codes
    assert {severity.value for severity in Severity} == {"error", "warning", "note"}


def test_every_kind_of_input_problem_is_documented(root, pages):
    kinds = {
        text
        for call in calls(root, "drivetrain/model/*.py", {"refuse", "_refusing"})
        for text in texts_in(call)[:1]
        if text.islower()
    }
    kinds |= {
        keyword.value.value
        for call in calls(root, "drivetrain/model/*.py", {"Problem"})
        for keyword in call.keywords
        if keyword.arg == "type" and isinstance(keyword.value, ast.Constant)
    }
    kinds = {kind for kind in kinds if re.fullmatch(r"[a-z_]+", kind)}
    assert set(pages["docs/reference/errors.md"].first_column("Input problems")) == kinds


def test_exit_statuses_are_documented(root, pages):
    modules = [
        ast.parse((root / "src/drivetrain/cli" / name).read_text(encoding="utf-8")) for name in ("main.py", "command_line.py")
    ]
    returned = [node.value for module in modules for node in ast.walk(module) if isinstance(node, ast.Return)]
    values = [node.value for each in returned if each is not None for node in ast.walk(each) if isinstance(node, ast.Constant)]
    statuses = {value for value in values if type(value) is int}
    rows = re.findall(r"^\| (\d+) \|", pages["docs/reference/errors.md"].section("Exit statuses"), re.MULTILINE)
    assert {0, 1, 2, 130} == set(map(int, rows)) <= statuses


def test_every_name_that_authors_import_is_documented_and_no_other(root, pages):
    page = pages["docs/reference/python.md"]
    authoring = root / "src" / "drivetrain_worker" / "authoring" / "cog"
    offered = next(
        [item.value for item in node.value.elts]
        for node in ast.parse((authoring / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    )
    assert set(page.first_column("Names")) == set(offered) - {"__version__"}
    modules = {
        path.relative_to(authoring.parent).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for path in authoring.rglob("*.py")
    }
    public = {name for name in modules if not name.split(".")[-1].startswith("_") and name.count(".")}
    named = set(re.findall(r"`(cog\.[a-z_.]+)`", page.section("Names")))
    packages = {"cog.server", "cog.command"}
    own = {"cog.errors", "cog.input", "cog.model"}  # homes of names that are imported from `cog`
    assert named == public - packages - own


def test_the_parameters_of_input_are_documented(root, pages):
    tree = ast.parse((root / "src/drivetrain_worker/authoring/cog/input.py").read_text(encoding="utf-8"))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "Input")
    names = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs) if argument.arg != "default_factory"]
    assert f"Input({', '.join(names)})" in pages["docs/reference/python.md"].text


def test_every_status_is_documented(root, pages):
    page = pages["docs/reference/http.md"]
    for status in Status:
        assert f"{status.value}" in page.section("States")
    health = {
        node.value
        for node in ast.walk(ast.parse((root / "src/drivetrain/serving/http/health.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[A-Z_]{4,}", node.value)
    }
    assert set(page.first_column("Health")) == health


def test_every_http_status_is_documented_and_no_other(root, pages):
    answered = set()
    for tree in trees(root, "drivetrain/serving/http/*.py"):
        answered |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and type(node.value) is int and 200 <= node.value < 600
        }
    rows = re.findall(r"^\| (\d+) \|", pages["docs/reference/http.md"].section("Statuses"), re.MULTILINE)
    answered.discard(255)  # the longest id
    assert set(map(int, rows)) == answered


def documented_routes(page):
    return [tuple(route.split()) for route in page.first_column("Routes")]


def test_every_route_of_the_application_is_documented(root, pages):
    source = (root / "src/drivetrain/serving/http/application.py").read_text(encoding="utf-8")
    written = set(re.findall(r'^ +"(/[a-z.-]*)": \{', source, re.MULTILINE))
    documented = {path for _, path in documented_routes(pages["docs/reference/http.md"])}
    assert written
    assert written <= documented


ECHO = """
    class Predictor:
        def predict(self, text: str = "nothing") -> str:
            return text
"""


def test_every_documented_route_answers(project, pages):
    with project(ECHO).serve() as server:
        routes = documented_routes(pages["docs/reference/http.md"])
        described = server.client.get("/openapi.json").json()["paths"]
        assert {
            (method.upper(), path.replace("prediction_id", "id")) for path, methods in described.items() for method in methods
        } <= set(routes)
        for method, path in sorted(routes, key=lambda route: route[1] == "/shutdown"):
            answer = server.client.request(method, path.replace("{id}", "known"), json={} if method == "PUT" else None)
            # The only cancel comes when nothing is under way: 404, but not for want of a route.
            assert answer.status_code < 400 or (answer.status_code, answer.text) == (404, "{}"), (method, path, answer.text)


def test_a_documented_problem_looks_like_a_real_one(project, pages):
    source = "class Predictor:\n    def predict(self, margin: int) -> int:\n        return margin\n"
    shown = re.search(r'\{"detail": .*\}', pages["docs/reference/http.md"].section("Statuses")).group()
    with project(source).serve() as server:
        answer = server.client.post("/predictions", json={"input": {"margin": "wide"}})
    assert (answer.status_code, answer.json()) == (422, httpx.Response(200, text=shown).json())


def test_the_fields_of_a_prediction_are_documented(project, pages):
    page = pages["docs/reference/http.md"]
    with project(ECHO).serve() as server:
        prediction = server.predict()
        request = server.client.get("/openapi.json").json()["components"]["schemas"]["PredictionRequest"]["properties"]
    assert set(page.first_column("A prediction")) >= set(prediction)
    headers = {"Prefer:", "Accept:", "traceparent", "tracestate"}
    assert {name.split()[0] for name in page.first_column("Asking for a prediction")} - headers == set(request)


def test_every_template_is_in_the_help(pages):
    text = " ".join(pages["docs/reference/command-line.md"].section("`drivetrain init`").split())
    for name in scaffold.templates():
        assert f"{name}: " in text


def test_every_metric_is_documented_and_no_other(root, pages):
    source = (root / "src/drivetrain/serving/http/metrics.py").read_text(encoding="utf-8")
    assert set(pages["docs/reference/http.md"].first_column("Metrics")) == set(re.findall(r'"(drivetrain_\w+)"', source))
