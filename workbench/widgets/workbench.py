"""Workbench: the whole screen as one widget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench.checkpoint import Checkpoint
from workbench.errors import ExportError, printable
from workbench.exporting import export, planned_files
from workbench.mapping import Mapping, Plan, Rule
from workbench.rows import Table, View
from workbench.session import Session
from workbench.widgets import facts, saved
from workbench.widgets.esm import bundle
from workbench.widgets.wire import Answer, Args, Handler, answer

_STATIC = Path(__file__).parent / "static"


class Workbench(anywidget.AnyWidget):
    """A checkpoint, its remap rules and what becomes of each key, side by side.

    `source` is a path, an open `Checkpoint` or a `Session` to share; None shows a field to choose a file in. A file
    that cannot be opened shows what it is instead. `mapping` is where the rules start.

    >>> Workbench("net.pt")  # doctest: +SKIP
    """

    _esm = bundle(_STATIC / "workbench.js")
    _css = (_STATIC / "workbench.css").read_text("utf-8")

    revision = traitlets.Int(0).tag(sync=True)
    summary = traitlets.Dict().tag(sync=True)
    rules: traitlets.List[facts.Facts] = traitlets.List().tag(sync=True)
    table = traitlets.Dict().tag(sync=True)

    def __init__(self, source: str | Path | Checkpoint | Session | None = None, mapping: Mapping | None = None) -> None:
        if isinstance(source, Session):
            self._session = source
            if mapping is not None:
                source.mapping = mapping
        else:
            self._session = Session(source, mapping)
        self._table: Table | None = None
        self._view = View()
        self._table_version = 0
        self._following = False
        super().__init__()
        self._handlers: dict[str, Handler] = {
            "rows": self._rows,
            "view": self._change_view,
            "fold": self._fold,
            "step_find": self._step_find,
            "row_of": self._row_of,
            "groups": self._groups,
            "add_rule": self._add_rule,
            "edit_rule": self._edit_rule,
            "toggle_rule": self._toggle_rule,
            "move_rule": self._move_rule,
            "delete_rule": self._delete_rule,
            "undo": self._undo,
            "redo": self._redo,
            "set_top_level_key": self._set_top_level_key,
            "open": self._open,
            "copy_python": self._copy_python,
            "check_folder": self._check_folder,
            "export": self._export,
        }
        self._follow()
        self._session.observe(self._follow, names="revision")
        self._following = True
        self.on_msg(self._receive)

    # ---- in Python --------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session that this view shows; other views may share it."""
        return self._session

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The open checkpoint, None where nothing is open."""
        return self._session.checkpoint

    @property
    def mapping(self) -> Mapping:
        """The current mapping. Setting it is one undoable step."""
        return self._session.mapping

    @mapping.setter
    def mapping(self, mapping: Mapping) -> None:
        self._session.mapping = mapping

    @property
    def plan(self) -> Plan | None:
        """The current plan, None where nothing is open."""
        return self._session.plan

    def close(self) -> None:
        """Stop following the session and free the page's side."""
        if self._following:
            self._following = False
            self._session.unobserve(self._follow, names="revision")
        super().close()

    # ---- to the page ------------------------------------------------------------------------------

    def _follow(self, _change: object = None) -> None:
        """Bring the traits in line with the session, in one message."""
        plan = self._session.plan
        with self.hold_sync():
            if plan is None:
                self._table, self._view = None, View()
            else:
                self._table = Table(plan, self._view, self._table)
                self._view = self._table.view
            self._show_table()
            self.summary = facts.summary(self._session)
            self.rules = facts.rules(self._session)
            self.revision += 1

    def _show_table(self) -> None:
        self._table_version += 1
        self.table = {
            "version": self._table_version,
            "total": 0 if self._table is None else len(self._table),
            "arrangement": self._view.arrangement,
            "chip": self._view.chip,
            "find": self._view.find,
            "n_found": None if self._table is None else self._table.n_found,
        }

    def _look(self, view: View) -> Answer:
        self._table = Table(self._open_table().plan, view, self._table)
        self._view = self._table.view
        self._show_table()
        return {"version": self._table_version, "total": len(self._table), "n_found": self._table.n_found}

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        reply = answer(content, self._handlers)
        if reply is not None:
            self.send(reply)

    def _open_table(self) -> Table:
        if self._table is None:
            raise ValueError("no checkpoint is open")
        return self._table

    # ---- questions --------------------------------------------------------------------------------

    def _rows(self, args: Args) -> Answer:
        table = self._open_table()
        start = max(0, args.number("from"))
        return {
            "version": self._table_version,
            "total": len(table),
            "from": start,
            "rows": table.rows(start, args.number("to")),
        }

    def _change_view(self, args: Args) -> Answer:
        self._open_table()
        return self._look(
            self._view.changed(
                arrangement=args.optional_text("arrangement"),
                chip=args.optional_text("chip"),
                find=args.optional_text("find"),
            )
        )

    def _fold(self, args: Args) -> Answer:
        view = self._open_table().fold(args.text("id"), open=args.flag("open"), siblings=args.flag("siblings"))
        return self._look(view)

    def _step_find(self, args: Args) -> Answer:
        table = self._open_table()
        row, number = table.next_hit(args.number("from"), args.number("direction"))
        return {"row": row, "number": number, "n_found": table.n_found}

    def _row_of(self, args: Args) -> Answer:
        return {"row": self._open_table().line_of(args.text("id"))}

    def _groups(self, args: Args) -> Answer:
        plan = self._open_table().plan
        index = args.number("index")
        if not 0 <= index < len(plan.mapping.rules):
            raise IndexError(f"there is no rule {index + 1}")
        return facts.groups(plan, index)

    def _add_rule(self, args: Args) -> Answer:
        rule = Rule(args.text("pattern"), args.text("replacement"))
        return {"index": self._session.add_rule(rule, typing=args.text("step"))}

    def _edit_rule(self, args: Args) -> Answer:
        index = args.number("index")
        rules = self._session.mapping.rules
        enabled = rules[index].enabled if 0 <= index < len(rules) else True
        rule = Rule(args.text("pattern"), args.text("replacement"), enabled)
        self._session.edit_rule(index, rule, typing=args.text("step"))
        return {}

    def _toggle_rule(self, args: Args) -> Answer:
        self._session.toggle_rule(args.number("index"), args.flag("enabled"))
        return {}

    def _move_rule(self, args: Args) -> Answer:
        self._session.move_rule(args.number("index"), args.number("to"))
        return {}

    def _delete_rule(self, args: Args) -> Answer:
        self._session.delete_rule(args.number("index"))
        return {}

    def _undo(self, _args: Args) -> Answer:
        return {"label": self._session.undo()}

    def _redo(self, _args: Args) -> Answer:
        return {"label": self._session.redo()}

    def _set_top_level_key(self, args: Args) -> Answer:
        self._session.choose_top_level_key(args.optional_text("key"))
        return {}

    def _open(self, args: Args) -> Answer:
        self._session.open(args.text("path"))
        return {}

    def _copy_python(self, _args: Args) -> Answer:
        return {"text": self._session.mapping.to_python(self._session.path)}

    def _check_folder(self, args: Args) -> Answer:
        plan = self._open_table().plan
        folder = _folder(args)
        names = [name for name, _ in planned_files(plan)]
        problem = "a file of this name is in the way" if folder.exists() and not folder.is_dir() else ""
        return {"n_replaced": sum(1 for name in names if (folder / name).exists()), "problem": problem}

    def _export(self, args: Args) -> Answer:
        plan = self._open_table().plan
        folder = _folder(args)
        done = export(plan, folder, overwrite=args.flag("overwrite"))
        return {
            "folder": printable(str(done.folder), 1_000),
            "paths": [printable(str(path), 1_000) for path in done.paths],
            "nbytes": done.nbytes,
            "code": f"wb.load_export({str(folder)!r})",
        }

    # ---- without a kernel -------------------------------------------------------------------------

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data is not None:
            data["text/plain"] = repr(self)
            data["text/html"] = saved.page(self._session)
        return bundle

    def __repr__(self) -> str:
        if self._session.plan is not None:
            return f"<Workbench: {self._session.plan!r}>"
        why = self._session.error
        return f"<Workbench: {'nothing is open' if why is None else printable(why.title, 200)}>"


def _folder(args: Args) -> Path:
    text = args.text("folder").strip()
    if not text or "\0" in text:
        raise ExportError(
            "No folder is named.", next_step="Type the folder that the files should go to.", code="no-folder"
        )
    return Path(text).expanduser()
