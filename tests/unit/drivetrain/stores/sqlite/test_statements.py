"""Named SQL: every name is used, and every statement is understood and finds its rows by an index."""

import re
import sqlite3
from pathlib import Path

import pytest

from drivetrain.stores.sqlite import statements as module
from drivetrain.stores.sqlite.migration import migrate, migrations_in

PACKAGE = Path(module.__file__).parent
FILES = {
    "queue": ("migrations", "queue.py"),
    "apps": ("migrations", "app.py"),
    "keys": ("migrations", "key.py"),
    "secrets": ("migrations", "secret.py"),
    "deliveries": ("migrations", "delivery.py"),
    "files": ("file_migrations", "file_record.py"),
}
STATEMENTS = [(file, name) for file in FILES for name in module.named(PACKAGE / "sql" / f"{file}.sql")]

#: Statements that read a table from end to end on purpose: small tables, and lists of everything.
WHOLE_TABLES = {
    ("apps", "apps"): {"app"},
    ("keys", "keys"): {"api_key"},
    ("keys", "audit_lines"): {"audit_line"},
    ("queue", "load"): {"lane"},
    ("queue", "queues"): {"queue"},
    ("deliveries", "find"): {"delivery"},
}


@pytest.fixture(scope="module")
def connections():
    made = {}
    for directory in ("migrations", "file_migrations"):
        made[directory] = sqlite3.connect(":memory:", isolation_level=None)
        migrate(made[directory], migrations_in(PACKAGE / directory), application_id=1, path=Path("memory"))
    yield made
    for connection in made.values():
        connection.close()


def plan(connection, statement):
    named = dict.fromkeys(re.findall(r":(\w+)", statement))
    parameters = named or (None,) * statement.count("?")
    return [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]


@pytest.mark.parametrize(("file", "name"), STATEMENTS, ids=map(".".join, STATEMENTS))
def test_no_statement_reads_a_table_from_end_to_end(connections, file, name):
    steps = plan(connections[FILES[file][0]], module.named(PACKAGE / "sql" / f"{file}.sql")[name])
    scanned = {match[1] for step in steps if (match := re.match(r"SCAN (?!CONSTANT|\(|token|json_each)(\w+)(?! VIRTUAL)", step))}
    scanned -= {step.split()[1] for step in steps if re.match(r"SCAN \w+ USING (COVERING )?INDEX", step)}
    assert scanned <= WHOLE_TABLES.get((file, name), set()), steps


@pytest.mark.parametrize(("file", "name"), STATEMENTS, ids=map(".".join, STATEMENTS))
def test_every_statement_is_used(file, name):
    source = (PACKAGE / FILES[file][1]).read_text()
    assert f'"{name}"' in source
