"""Questions to the tables of an archive, in SQL (DuckDB)."""

from __future__ import annotations

import duckdb

from pipeline.batch.ledger import Ledger
from pipeline.batch.tables import SCHEMAS
from pipeline.errors import UsageError

VIEWS = {
    "worst_assets": """
        SELECT uri, round(badness, 2) AS badness, defects,
               round(worst_severity, 2) AS worst_severity, round(seconds, 3) AS seconds,
               state, reason, run
        FROM assets ORDER BY state = 'failed' DESC, assets.badness DESC NULLS LAST, uri""",
    "defects_by_kind": """
        SELECT kind, count(*) AS defects, count(DISTINCT asset) AS assets,
               round(sum("end" - start), 3) AS seconds,
               round(max(severity), 3) AS worst_severity, run
        FROM defects GROUP BY run, kind ORDER BY run, defects DESC, kind""",
    "defects_by_label": """
        WITH label AS (
            SELECT run, asset, seconds, unnest(map_entries(labels)) AS entry FROM assets
        ), total AS (
            SELECT run, entry.key AS label, entry.value AS value, count(*) AS assets,
                   sum(seconds) AS seconds
            FROM label GROUP BY ALL
        ), found AS (
            SELECT run, entry.key AS label, entry.value AS value, kind, count(*) AS defects,
                   sum("end" - start) AS defect_seconds
            FROM defects JOIN label USING (run, asset) GROUP BY ALL
        )
        SELECT label, value, kind, assets, coalesce(defects, 0) AS defects,
               round(coalesce(defect_seconds, 0), 3) AS defect_seconds,
               round(100 * coalesce(defect_seconds, 0) / nullif(seconds, 0), 3) AS percent_of_time,
               run
        FROM total LEFT JOIN found USING (run, label, value)
        ORDER BY run, label, defects DESC, value, kind""",
}


def connect(ledger: Ledger) -> duckdb.DuckDBPyConnection:
    """A database of an archive: the tables `assets`, `defects`, `timeline`, and VIEWS of them.

    Raises:
        UsageError: no run has written tables there.
    """
    database = duckdb.connect()
    prefix = ledger.root
    if not ledger.is_local:
        database.register_filesystem(ledger.fs)
        prefix = ledger.fs.unstrip_protocol(ledger.root)
    for name in SCHEMAS:
        place = f"{prefix}/tables/{name}/run=*/part.parquet".replace("'", "''")
        try:
            # a view cannot take parameters; the path is quoted above
            database.execute(
                f"CREATE VIEW {name} AS SELECT * FROM "  # noqa: S608
                f"read_parquet('{place}', hive_partitioning = true)"
            )
        except duckdb.IOException as error:
            raise UsageError(f"{ledger.out} has no tables: run `vidette batch` first") from error
    for name, query in VIEWS.items():
        database.execute(f"CREATE VIEW {name} AS {query}")
    return database


def ask(database: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """The answer to a question.

    Raises:
        UsageError: it is no SQL that has an answer; the message says where it goes wrong.
    """
    try:
        answer: duckdb.DuckDBPyRelation | None = database.sql(sql)
    except duckdb.Error as error:
        raise UsageError(str(error)) from error
    if answer is None:
        raise UsageError("that statement has no answer; ask with SELECT")
    return answer
