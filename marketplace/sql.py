"""Install `.sql` files from migrations, so that functions live beside the room that owns them."""

from pathlib import Path

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import RunPython
from django.db.migrations.state import StateApps

HERE = Path(__file__).resolve().parent


def install(file: str) -> RunPython:
    """A migration step that runs `marketplace/<file>`; the file uses CREATE OR REPLACE."""

    def run(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        editor.execute((HERE / file).read_text(), params=None)

    return RunPython(run, RunPython.noop)
