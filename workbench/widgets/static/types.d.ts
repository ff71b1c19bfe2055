/** What goes over the wire, and what the parts of one view share. Types only: nothing of this file reaches the browser. */

export type Mark = "" | "dim" | "new" | "gone" | "note" | "find";
export type Parts = [string, Mark][];
export type Status = "unchanged" | "remapped" | "reindexed" | "skipped" | "collision" | "outside" | "value";

export interface Row {
  i: number;
  id: string;
  kind: "group" | "tensor" | "note"; // note: a sentence below a tensor
  depth: number;
  open?: boolean;
  key: string;
  note: string; // class of a module
  tag: string; // tied, view
  tag_title: string;
  remapped: string;
  label: Parts;
  target: Parts;
  shape: string;
  dtype: string;
  size: string;
  status: Status;
  status_text: string;
  differs: string; // how it differs from the other blocks
  hit: boolean;
  reason: string;
  aria: string;
}

export interface Fault {
  title: string;
  file?: string;
  place?: string;
  cause?: string;
  next?: string;
  code?: string;
  column?: number;
  width?: number;
  text?: string;
}

export interface Summary {
  state: "empty" | "error" | "open";
  name: string;
  path: string;
  kind: string;
  n_tensors: number;
  nbytes: number;
  dtypes: { dtype: string; n_tensors: number; nbytes: number }[];
  top_level_keys: { key: string; n_tensors: number; nbytes: number }[];
  top_level_key: string | null;
  counts: Record<Exclude<Chip, "differs">, number>;
  equation: { found: number; out: number; skipped: number; collision: number; outside: number };
  n_collisions: number;
  blocked: { title: string; text: string; skip: string } | null; // skip: the label of the repair that leaves tensors out
  burn: string;
  reindex: string;
  plan: { number: number; ms: number };
  undo: string | null;
  redo: string | null;
  export: ExportChoices;
  error: Fault | null;
  folder: { path: string; nbytes: number }[];
  /** What the folder has beside those, in words. */
  folder_more: string;
  target: TargetFacts | null;
  burn_choice: string;
  burn_choices: { value: string; words: string }[];
}

export interface RepairFacts { label: string; do: string; top_level_key: string | null }
export interface FindingFacts {
  number: number; // place in the list of the session
  code: string;
  severity: "error" | "warning" | "note";
  place: string;
  text: string;
  next: string;
  rule: number | null;
  repair: RepairFacts | null;
}
export interface BannerFacts { finding: number; title: string; text: string; owner: string; danger: boolean }
/** The file on disk is not the one that is shown; `when` is "" where it is gone. */
export interface ChangedFile { name: string; when: string; mtime: string }
export interface Explained {
  revision: number;
  known: boolean;
  title: string;
  cause: string;
  wording: string;
  here: { name: string; keys: string[]; n: number }[];
  n_here: number;
  repairs: RepairFacts[];
  still_there: boolean | null;
}
export interface Inspected {
  key: string;
  shown: string;
  steps: { what: string; before: Parts; after: Parts }[];
  facts: [string, string, boolean][]; // word, text, whether it is code
}

export interface TargetItem { key: string; shape: string; note: string; action: string }
export interface TargetFacts {
  name: string;
  percent: number;
  at_least: boolean;
  ok: boolean;
  text: string;
  verdict: string;
  n_applied: number;
  n_mismatched: number;
  n_missing: number;
  lists: { what: "missing" | "mismatched" | "unused"; n: number; words: string; items: TargetItem[] }[];
}
export interface SuggestAnswer {
  title: string;
  rules: { pattern: string; replacement: string; words: string }[];
  ambiguous: string[];
}

export type Chip = "all" | "remapped" | "reindexed" | "unchanged" | "skipped" | "collision" | "differs";
export interface Rule { pattern: string; replacement: string; enabled: boolean; n_keys: number | null }
export interface Table {
  version: number;
  total: number;
  arrangement: "nested" | "flat" | "flat-remapped";
  chip: Chip;
  find: string;
  n_found: number | null;
  n_differs: number; // tensors that differ from those of the other blocks
  stop: number | null; // how many rules are applied; null for all
}

export interface RowsAnswer { version: number; total: number; from: number; rows: Row[] }
export interface GroupsAnswer {
  n_keys: number;
  n_hits: number;
  groups: { name: string; values: string[]; n_values: number }[];
  first_hit: { before: Parts; after: Parts } | null;
}
/** What can be chosen for an export of this plan, and what is chosen at first. */
export interface ExportChoices {
  folder: string;
  formats: string[];
  cast: string; // the dtype that all floats get; "" for their own, "several"
  has_floats: boolean;
}
export interface ExportOptions { formats: string[]; ties: string; precision: string; shard_size: string }
/** The files of one format; `problem` says why they cannot be written. */
export interface ExportFiles { format: string; names: string[]; note: string; nbytes: number | null; problem: string; why: string }
export interface ExportCheck {
  files: ExportFiles[];
  n_files: number;
  nbytes: number;
  n_replaced: number;
  n_tied: number;
  problem: string;
  is_known: boolean; // false while a large plan is looked through for what the formats refuse
}
export interface ExportAnswer { folder: string; paths: string[]; nbytes: number; code: string; changes: string[]; n_changes: number }
export interface FixAnswer { path: string; n_tensors: number; nbytes: number; left_out: string[] }

/** The work that takes its time: one at a time, told by the trait `job`. */
export interface JobFacts {
  id: number; // 0 before the first
  state: "idle" | "running" | "done" | "failed" | "cancelled";
  kind: "export" | "fix";
  name: string; // of the checkpoint
  file: string;
  step: "write" | "verify";
  done: number; // bytes of this step
  total: number;
  percent: number; // of both steps
  seconds_left: number | null;
  files: { name: string; state: "waiting" | "writing" | "checking" | "written"; percent: number }[];
  more: string;
  stopping: boolean;
  result: any;
  error: Fault | null;
}
export interface Jobs { export: ExportAnswer; fix: FixAnswer }

/** Each question with what it takes and what it is answered with. */
export interface Questions {
  rows: [{ from: number; to: number }, RowsAnswer];
  view: [{ arrangement?: string; chip?: string; find?: string }, { version: number; total: number; n_found: number | null }];
  fold: [{ id: string; key: string; open: boolean; siblings: boolean }, { version: number; total: number }];
  repeat: [{ id: string }, { repeats: boolean }];
  step_find: [{ from: number; direction: 1 | -1 }, { row: number; number: number; n_found: number }];
  inspect: [{ id: string }, Inspected];
  fix: [{ path: string; top_level_key: string | null; overwrite: boolean }, { job: number }];
  explain: [{ text: string }, Explained];
  repair_explained: [{ repair: number; revision: number }, { label: string }];
  repair: [{ finding: number; revision: number }, { label: string }];
  stop_after: [{ rules: number | null }, {}];
  use_target: [{ text: string }, {}];
  suggest: [{}, SuggestAnswer];
  take_suggestions: [{ rules: { pattern: string; replacement: string }[] }, {}];
  mend_target: [{ list: string; key: string }, { label: string }];
  choose_burn: [{ choice: string }, { moved: number }];
  rename: [{ id: string; name: string }, {}];
  skip: [{ ids: string[] }, { n: number; taken_back: boolean }];
  from_selection: [{ ids: string[] }, { readings: { pattern: string; n: number; words: string }[]; why: string }];
  row_of: [{ id: string }, { row: number }];
  groups: [{ index: number }, GroupsAnswer];
  add_rule: [{ pattern: string; replacement: string; step: string }, { index: number }];
  edit_rule: [{ index: number; pattern: string; replacement: string; step: string }, {}];
  toggle_rule: [{ index: number; enabled: boolean }, {}];
  move_rule: [{ index: number; to: number }, {}];
  delete_rule: [{ index: number }, {}];
  undo: [{}, { label: string }];
  redo: [{}, { label: string }];
  set_top_level_key: [{ key: string | null }, {}];
  open: [{ path: string }, {}];
  code: [{ language: string }, { text: string }];
  paste_rules: [{ text: string }, { n: number; left: string[] }];
  check_export: [{ folder: string } & ExportOptions, ExportCheck];
  export: [{ folder: string; overwrite: boolean } & ExportOptions, { job: number }];
  cast_floats: [{ dtype: string | null }, {}];
  skip_collided: [{}, { n: number }];
  open_again: [{}, {}];
  keep_shown: [{}, {}];
  cancel: [{ job: number }, { stopping: boolean }];
}
export type Ask = <K extends keyof Questions>(name: K, args: Questions[K][0]) => Promise<Questions[K][1]>;

/** The part of anywidget's model that is used. */
export interface Model {
  get(name: string): any;
  send(content: unknown): void;
  on(event: string, callback: (...args: any[]) => void): void;
  off(event: string, callback: (...args: any[]) => void): void;
  comm_live?: boolean;
}

export type Health = "well" | "busy" | "gone";
export type Run = <K extends keyof Jobs>(name: K, args: Questions[K][0]) => Promise<Jobs[K]>;
export interface Wire { ask: Ask; run: Run; look(): void; onHealth(callback: (health: Health) => void): void }

/** What every part of one view is handed. */
export interface App {
  ask: Ask;
  /** Starts a job; resolves with its result, rejects with what went wrong ("cancelled" too) or with why it did not start. */
  run: Run;
  job(): JobFacts;
  foreseen(): number; // raised when it is known what an export would be refused for
  signal: AbortSignal;
  root: HTMLElement;
  summary(): Summary;
  rules(): Rule[];
  table(): Table;
  findings(): { revision: number; items: FindingFacts[]; n: number; banner: BannerFacts | null };
  revision(): number;
  /** Null while the file is as it was opened. */
  changed(): ChangedFile | null;
  /** Listens for as long as the view lives. */
  on<K extends keyof HTMLElementEventMap>(node: EventTarget, type: K, run: (event: HTMLElementEventMap[K]) => void): void;
  /** Says something for a short time in the status line. */
  say(text: string): void;
  /** Shows an error for which there is no better place. */
  fail(fault: Fault): void;
  /** Runs a question whose answer is not needed; an error is shown. */
  tell<K extends keyof Questions>(name: K, args: Questions[K][0]): Promise<void>;
  undo(direction: "undo" | "redo"): void;
  /** Brings a tab of the panel to the front, with the focus. */
  show(tab: string): void;
  /** Gives the focus to the table, or to what stands in its place. */
  home(): void;
}

export interface Part {
  el: HTMLElement;
  /** Shows what the traits now say. */
  update(): void;
  /** Takes the focus to the best place of this region. */
  focus(): void;
}
