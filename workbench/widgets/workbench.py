"""Workbench: the whole screen as one widget."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from workbench.checkpoint import Checkpoint
from workbench.code import python_code, rules_from_code, rust_code
from workbench.diagnosis import Explanation, findings_of
from workbench.errors import printable
from workbench.exporting import export, fix
from workbench.finding import Finding
from workbench.mapping import Mapping, Plan, Rule
from workbench.rows import Table, View, inspected
from workbench.session import Session
from workbench.suggesting import readings, suggest
from workbench.target import Target
from workbench.widgets import exports, facts, saved
from workbench.widgets.esm import bundle
from workbench.widgets.foreseen import Foresight, Options
from workbench.widgets.jobs import IDLE, Jobs, running_loop
from workbench.widgets.target_facts import offers
from workbench.widgets.wire import Answer, Args, Handler, answer
from workbench.writing.progress import Cancel, Report

_STATIC = Path(__file__).parent / "static"
_QUICK = 3_000
"""Tensors of a plan up to which its findings cost nothing that one could feel."""
_PAUSE = 0.25
"""Seconds without an edit after which the findings of a larger plan are told."""


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
    findings = traitlets.Dict(facts.NO_FINDINGS).tag(sync=True)
    job = traitlets.Dict(IDLE).tag(sync=True)
    foreseen = traitlets.Int(0).tag(sync=True)
    changed = traitlets.Dict().tag(sync=True)

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
        self._stop: int | None = None
        self._explained: Explanation | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._following = False
        self._kept: facts.Facts = {}
        self._jobs = Jobs(self._show_job)
        self._foresight = Foresight(self._show_foreseen)
        super().__init__()
        self._handlers: dict[str, Handler] = {
            "rows": self._rows,
            "view": self._change_view,
            "fold": self._fold,
            "repeat": self._repeat,
            "step_find": self._step_find,
            "row_of": self._row_of,
            "stop_after": self._stop_after,
            "inspect": self._inspect,
            "choose_burn": self._choose_burn,
            "rename": self._rename,
            "skip": self._skip,
            "from_selection": self._from_selection,
            "use_target": self._use_target,
            "suggest": self._suggest,
            "take_suggestions": self._take_suggestions,
            "mend_target": self._mend_target,
            "repair": self._repair,
            "fix": self._fix,
            "explain": self._explain,
            "repair_explained": self._repair_explained,
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
            "look": self._look_again,
            "open_again": self._open_again,
            "keep_shown": self._keep_shown,
            "code": self._code,
            "paste_rules": self._paste_rules,
            "check_export": self._check_export,
            "export": self._export,
            "cast_floats": self._cast_floats,
            "skip_collided": self._skip_collided,
            "cancel": self._cancel,
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
        """Stop following the session, cancel what is being written, and free the page's side."""
        if self._waiting is not None:
            self._waiting.cancel()
        if self._following:
            self._following = False
            self._session.unobserve(self._follow, names="revision")
        self._jobs.close()
        self._foresight.close()
        super().close()

    # ---- to the page ------------------------------------------------------------------------------

    def _follow(self, _change: object = None) -> None:
        """Bring the traits in line with the session, in one message."""
        plan = self._session.plan
        with self.hold_sync():
            if plan is None:
                self._table, self._view, self._stop = None, View(), None
            else:
                self._table = Table(self._shown(plan), self._view, self._table)
                self._view = self._table.view
            self._show_table()
            self.summary = facts.summary(self._session)
            self.rules = facts.rules(self._session)
            self.revision += 1
        self._tell_findings(later=plan is not None and len(plan) > _QUICK)

    def _tell_findings(self, *, later: bool) -> None:
        """The findings at once; with `later` after a pause, on a thread: the rows of a large file come first."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        loop = running_loop()
        if later and loop is not None:
            self._waiting = loop.call_later(_PAUSE, self._find_on_thread, loop)
        else:
            self.findings = facts.findings(self._session)

    def _find_on_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        plan = self._session.plan
        if plan is None:
            return

        def found(future: asyncio.Future[tuple[Finding, ...]]) -> None:
            if not future.cancelled() and self._session.plan is plan and self._following:
                self._session.keep_findings(plan, future.result())
                self.findings = facts.findings(self._session)

        loop.run_in_executor(None, findings_of, plan).add_done_callback(found)

    def _shown(self, plan: Plan) -> Plan:
        """The plan that the table shows: after the first rules only, where the user stopped it there."""
        if self._stop is not None and self._stop >= len(plan.mapping.rules):
            self._stop = None
        return plan if self._stop is None else plan.upto(self._stop)

    def _show_table(self) -> None:
        self._table_version += 1
        self.table = {
            "version": self._table_version,
            "total": 0 if self._table is None else len(self._table),
            "arrangement": self._view.arrangement,
            "chip": self._view.chip,
            "find": self._view.find,
            "n_found": None if self._table is None else self._table.n_found,
            "stop": self._stop,
            "n_differs": 0 if self._table is None else self._table.n_differs,
        }

    def _show_job(self, job: Answer) -> None:
        self.job = job

    def _show_foreseen(self) -> None:
        """The page asks again."""
        self.foreseen += 1

    def _look(self, view: View) -> Answer:
        self._table = Table(self._shown(self._open_plan()), view, self._table)
        self._view = self._table.view
        self._show_table()
        return {"version": self._table_version, "total": len(self._table), "n_found": self._table.n_found}

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        reply = answer(content, self._handlers)
        if reply is not None:
            self._look_at_file()
            self.send(reply)

    def _look_at_file(self) -> None:
        """Whether there is another file on disk than the table shows: seen with each answer, without a watcher."""
        checkpoint = self._session.checkpoint
        now = {} if checkpoint is None else facts.changed(checkpoint)
        self.changed = {} if now == self._kept else now

    def _open_table(self) -> Table:
        if self._table is None:
            raise ValueError("no checkpoint is open")
        return self._table

    def _open_plan(self) -> Plan:
        if self._session.plan is None:
            raise ValueError("no checkpoint is open")
        return self._session.plan

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

    def _repeat(self, args: Args) -> Answer:
        """Show the blocks around a line singly, or fold them again."""
        view = self._open_table().toggle_repeat(args.text("id"))
        if view is not None:
            self._look(view)
        return {"repeats": view is not None}

    def _step_find(self, args: Args) -> Answer:
        table = self._open_table()
        row, number = table.next_hit(args.number("from"), args.number("direction"))
        return {"row": row, "number": number, "n_found": table.n_found}

    def _row_of(self, args: Args) -> Answer:
        return {"row": self._open_table().line_of(args.text("id"))}

    def _stop_after(self, args: Args) -> Answer:
        n = args.optional_number("rules")
        if n is not None and not 0 < n <= len(self._open_plan().mapping.rules):
            raise IndexError(f"there is no rule {n}")
        self._stop = n
        self._look(self._view)
        return {}

    def _inspect(self, args: Args) -> Answer:
        return dict(inspected(self._open_table(), args.text("id")))

    def _choose_burn(self, args: Args) -> Answer:
        version, _, api = args.text("choice").partition(" ")
        before = self._open_plan()
        self._session.choose_burn(version or None, api or None)
        after = self._open_plan()
        return {"moved": sum(one != other for one, other in zip(before.remapped, after.remapped, strict=True))}

    def _rows_of(self, ids: list[str]) -> list[int]:
        """The plan's rows that lines show, those of a group one by one."""
        table = self._open_table()
        return list(dict.fromkeys(row for each in ids for row in table.rows_of(each)))

    def _rename(self, args: Args) -> Answer:
        (row,) = self._rows_of([args.text("id")])
        self._session.rename_key(self._open_plan().originals[row], args.text("name"))
        return {}

    def _skip(self, args: Args) -> Answer:
        plan = self._open_plan()
        rows = self._rows_of(args.texts("ids"))
        keys = [plan.originals[row] for row in rows]
        taken_back = bool(rows) and not any(plan.selected[row] for row in rows)
        (self._session.unskip_keys if taken_back else self._session.skip_keys)(keys)
        return {"n": len(keys), "taken_back": taken_back}

    def _from_selection(self, args: Args) -> Answer:
        plan = self._open_plan()
        chosen = [plan.after_rules[row] for row in self._rows_of(args.texts("ids"))]
        found = readings(chosen, plan.after_rules)
        return {
            "readings": [{"pattern": each.pattern, "n": each.n_keys, "words": each.words} for each in found],
            "why": "These keys have no segment in common, neither at their start nor at their end.",
        }

    def _use_target(self, args: Args) -> Answer:
        text = args.text("text").strip()
        mapping = self._session.mapping
        path = os.path.expanduser(text)
        is_path = "\n" not in text and os.path.exists(path)
        looks_like_one = "\n" not in text and text.lower().endswith((".rs", ".json", ".csv", *facts.ENDINGS))
        if is_path or looks_like_one:
            target = Target.open(Path(path), burn=mapping.burn)
        else:
            target = Target.parse(text, burn=mapping.burn)
        self._session.choose_target(target)
        return {}

    def _target(self) -> Target:
        target = self._session.target
        if target is None:
            raise ValueError("no target is chosen")
        return target

    def _suggest(self, _args: Args) -> Answer:
        return offers(suggest(self._open_plan(), self._target()))

    def _take_suggestions(self, args: Args) -> Answer:
        rules = [Rule(Args(each).text("pattern"), Args(each).text("replacement")) for each in args.objects("rules")]
        mapping = self._session.mapping
        self._session.change(mapping.with_rules((*mapping.rules, *rules)), "suggested rules")
        return {}

    def _mend_target(self, args: Args) -> Answer:
        plan, kind, key = self._open_plan(), args.text("list"), args.text("key")
        coverage = plan.coverage(self._target())
        if kind == "missing":
            near = coverage.did_you_mean(key)
            if near is None:
                raise ValueError("nothing is like this key any more")
            self._session.rename_key(plan.originals[near.row], key)
            return {"label": f"{near.name} is now {key}"}
        if kind == "unused":
            row = next((row for row in coverage.unused_rows if coverage.names[row] == key), None)
        else:
            found = next((one for one in (*coverage.mismatched, *coverage.errors) if one.path == key), None)
            row = (
                None if found is None else next((n for n, name in enumerate(coverage.names) if name == found.key), None)
            )
        if row is None:
            raise ValueError("this tensor is not in the list any more")
        self._session.skip_keys([plan.originals[row]])
        return {"label": f"Skipped {plan.originals[row]}"}

    def _repair(self, args: Args) -> Answer:
        findings = self._session.findings
        number = args.number("finding")
        if args.number("revision") != self._session.revision or not 0 <= number < len(findings):
            raise ValueError("the findings have changed meanwhile: nothing was done")
        repair = findings[number].repair
        if repair is None:
            raise ValueError("this finding has no repair")
        self._session.repair(repair)
        return {"label": repair.label}

    def _fix(self, args: Args) -> Answer:
        """Write the state_dict that a finding is about, as torch's state_dict() would give it."""
        checkpoint, out = self._open_plan().checkpoint, exports.path_of(args, "path")
        key, overwrite = args.optional_text("top_level_key"), args.flag("overwrite")

        def work(report: Report, cancel: Cancel) -> Answer:
            done = fix(checkpoint, out, top_level_key=key, overwrite=overwrite, progress=report, cancel=cancel)
            return exports.fixed(done)

        return {"job": self._jobs.start("fix", checkpoint.name, [(out.name, checkpoint.nbytes)], work)}

    def _explain(self, args: Args) -> Answer:
        self._explained = self._session.explain(args.text("text"))
        return facts.explanation(self._explained, self._session.revision)

    def _repair_explained(self, args: Args) -> Answer:
        found, number = self._explained, args.number("repair")
        if found is None or args.number("revision") != self._session.revision or not 0 <= number < len(found.repairs):
            raise ValueError("the mapping has changed meanwhile: nothing was done")
        self._session.repair(found.repairs[number])
        return {"label": found.repairs[number].label}

    def _groups(self, args: Args) -> Answer:
        plan = self._open_plan()
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

    def _look_again(self, _args: Args) -> Answer:
        """Nothing: each answer comes with a look at the file."""
        return {}

    def _open_again(self, _args: Args) -> Answer:
        """The file as it is now, under the rules that there are."""
        self._session.open(self._session.path or self._open_plan().checkpoint.path, keep_mapping=True)
        return {}

    def _keep_shown(self, _args: Args) -> Answer:
        """Say no more of this change; of the next one again."""
        self._kept = dict(self.changed)
        return {}

    def _code(self, args: Args) -> Answer:
        plan = self._open_plan()
        return {"text": (rust_code if args.text("language") == "rust" else python_code)(plan)}

    def _paste_rules(self, args: Args) -> Answer:
        """Rules out of pasted Rust; what was not understood is said, not dropped."""
        parsed = rules_from_code(args.text("text"))
        mapping = self._session.mapping
        if parsed.rules:
            self._session.change(mapping.with_rules((*mapping.rules, *parsed.rules)), "pasted rules")
        left = [printable(f"line {call.line}: {call.text}: {call.why}", 300) for call in parsed.not_understood[:20]]
        return {"n": len(parsed.rules), "left": left}

    def _check_export(self, args: Args) -> Answer:
        plan, folder, options = self._open_plan(), exports.path_of(args, "folder"), Options.of(args)
        foreseen = None if plan.collisions else self._foresight.of(plan, options)
        return exports.check(plan, folder, options, foreseen)

    def _export(self, args: Args) -> Answer:
        """Begin to write. What is written is this plan, whatever the user changes or opens meanwhile."""
        plan, folder, options = self._open_plan(), exports.path_of(args, "folder"), Options.of(args)
        overwrite = args.flag("overwrite")

        def work(report: Report, cancel: Cancel) -> Answer:
            done = export(
                plan,
                folder,
                formats=options.formats,
                ties=options.ties,
                precision=options.precision,
                shard_size=options.shard_size,
                overwrite=overwrite,
                progress=report,
                cancel=cancel,
            )
            return exports.exported(done)

        return {"job": self._jobs.start("export", plan.checkpoint.name, exports.planned(plan, options), work)}

    def _cancel(self, args: Args) -> Answer:
        return {"stopping": self._jobs.cancel(args.number("job"))}

    def _skip_collided(self, _args: Args) -> Answer:
        keys = exports.collided(self._open_plan())
        self._session.skip_keys(keys)
        return {"n": len(keys)}

    def _cast_floats(self, args: Args) -> Answer:
        self._session.cast_floats(args.optional_text("dtype"))
        return {}

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
