// @ts-check
// Runs the cell that `workbench lab` vouched for, once, in a kernel that has not run anything yet.
(() => {
  const NAME = "checkpoint-workbench-lab";

  /** What the launcher wrote into the page: which notebook, and the exact source that may run. */
  function vouchedFor() {
    const page = document.getElementById("jupyter-config-data");
    return JSON.parse(page?.textContent || "{}").workbenchRun ?? null;
  }

  /** @param {any} scope @param {string} module the module as JupyterLab itself uses it */
  async function shared(scope, module) {
    const factory = await Object.values(scope[module])[0].get();
    return factory();
  }

  /** @param {any} kernel */
  async function isFresh(kernel) {
    const reply = await kernel.requestExecute({ code: "", silent: true, store_history: false }).done;
    return reply.content.status === "ok" && reply.content.execution_count === 0;
  }

  /** @param {any} panel @param {{path: string, source: string}} wanted @param {any} NotebookActions */
  async function runIn(panel, wanted, NotebookActions) {
    await panel.context.ready;
    if (panel.context.path !== wanted.path) return;
    await panel.sessionContext.ready;
    const kernel = panel.sessionContext.session?.kernel;
    if (!kernel || kernel.name !== "python3" || !(await isFresh(kernel))) return;
    const notebook = panel.content;
    const at = notebook.widgets.findIndex((/** @type {any} */ cell) => cell.model.type === "code");
    if (at < 0 || notebook.widgets[at].model.sharedModel.getSource() !== wanted.source) return;
    notebook.activeCellIndex = at;
    notebook.deselectAll();
    await NotebookActions.run(notebook, panel.sessionContext);
    // Saved at once, so that the workbench is there again after the page is loaded anew.
    if (panel.context.contentsModel?.writable) await panel.context.save();
  }

  /** @param {any} scope */
  async function plugin(scope) {
    const { INotebookTracker, NotebookActions } = await shared(scope, "@jupyterlab/notebook");
    return {
      id: `${NAME}:run-first-cell`,
      autoStart: true,
      requires: [INotebookTracker],
      activate(/** @type {any} */ _app, /** @type {any} */ tracker) {
        const wanted = vouchedFor();
        if (wanted === null) return;
        const look = (/** @type {any} */ panel) =>
          runIn(panel, wanted, NotebookActions).catch((error) => console.error(NAME, error));
        tracker.forEach(look);
        tracker.widgetAdded.connect((/** @type {any} */ _tracker, /** @type {any} */ panel) => look(panel));
      },
    };
  }

  /** @type {any} */
  let scope;
  const labs = /** @type {any} */ (window);
  labs._JUPYTERLAB = labs._JUPYTERLAB || {};
  labs._JUPYTERLAB[NAME] = {
    init(/** @type {any} */ given) {
      scope = given;
    },
    async get() {
      const found = await plugin(scope);
      return () => ({ __esModule: true, default: found });
    },
  };
})();
