import sqlite3
from pathlib import Path

from collector.index import queries
from collector.index.projection import IndexProjection
from collector.index.retention import prune
from tests.collector.builders import NOW, an_admitted_batch
from tests.proto.builders import a_finding

INDEX = IndexProjection()


def an_index_file(path: Path, batches: int) -> Path:
    file = path / "index.db"
    db = sqlite3.connect(file)
    db.executescript(INDEX.schema)
    for position in range(1, batches + 1):
        INDEX.apply(db, an_admitted_batch(a_finding(), position=position))
    db.commit()
    db.close()
    return file


def test_only_what_is_older_goes(tmp_path: Path) -> None:
    file = an_index_file(tmp_path, 5)

    assert prune(file, NOW + 3) == 2
    assert prune(file, NOW + 3) == 0

    db = queries.open_index(str(file))
    assert queries.counts(db)["findings"] == 3
    assert queries.counts(db)["hosts"] == 1
    db.close()


def test_an_index_that_is_not_there_has_nothing_to_remove(tmp_path: Path) -> None:
    assert prune(tmp_path / "none.db", NOW) == 0
    assert not (tmp_path / "none.db").exists()
