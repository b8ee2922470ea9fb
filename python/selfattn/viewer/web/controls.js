/** The rows of controls above the view: which view, layer, heads, shade, order, theme. */
class Controls {
  constructor(app, views) {
    this.app = app;
    this.views = views;
    const find = (id) => document.getElementById(id);
    this.tabs = [...document.querySelectorAll('[role="tab"]')];
    this.layer = find("layer");
    this.chips = find("heads");
    this.chipsFor = null;
    this.fill();
    this.listen(find);
  }

  fill() {
    const { header } = this.app;
    const options = (select, entries) => select.replaceChildren(
      ...entries.map(([value, text]) => new Option(text, value)));
    options(this.layer, header.layers.map(({ name }, i) => [i, Names.layer(name, 40)]));
    document.getElementById("layer-label").hidden = header.layers.length < 2;
    const facts = ModelView.sortable(this.app);
    options(document.getElementById("sort"),
      [["order", "layer and head"], ...facts.map((name) => [name, ModelView.title(name)])]);
    document.getElementById("shade").value = this.app.state.shade;
    const hasMean = header.layers.some(({ heads }) =>
      heads.some(({ kind, overview }) => kind !== "top" || "mean" in overview));
    document.getElementById("grid-label").hidden = !hasMean;
  }

  listen(find) {
    const { app } = this;
    this.tabs.forEach((tab) => {
      tab.addEventListener("click", () => app.set({ view: tab.dataset.view, over: null }));
      tab.addEventListener("keydown", (event) => this.tabKey(event));
    });
    this.layer.addEventListener("change", () => app.goToLayer(Number(this.layer.value)));
    for (const name of ["shade", "grid", "sort"]) {
      find(name).addEventListener("change", (event) => app.set({ [name]: event.target.value }));
    }
    find("several").addEventListener("change", (event) => this.setSeveral(event.target.checked));
    find("all-heads").addEventListener("click", () => this.toggleAll());
    find("zoom-in").addEventListener("click", () => this.views.matrix.zoom(1.6));
    find("zoom-out").addEventListener("click", () => this.views.matrix.zoom(1 / 1.6));
    find("zoom-fit").addEventListener("click", () => {
      this.views.matrix.camera.fit();
      app.redraw();
    });
    find("theme").addEventListener("click", () => Theme.turn());
    Theme.changed = () => app.recolour();
    find("help-open").addEventListener("click", () => find("help").showModal());
  }

  tabKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    const at = this.tabs.indexOf(event.currentTarget);
    const next = this.tabs[(at + step + this.tabs.length) % this.tabs.length];
    this.app.set({ view: next.dataset.view, over: null });
    next.focus();
    event.stopPropagation();
  }

  setSeveral(several) {
    const { head, shown } = this.app.state;
    this.app.set({ several, shown: several ? shown : new Set([head]) });
  }

  toggleAll() {
    const { heads } = this.app.layer();
    const all = this.app.state.shown.size === heads.length;
    this.app.set({ several: !all, shown: new Set(all ? [this.app.state.head] : heads.keys()) });
  }

  draw() {
    const { state } = this.app;
    for (const tab of this.tabs) {
      const isCurrent = tab.dataset.view === state.view;
      tab.setAttribute("aria-selected", isCurrent);
      tab.tabIndex = isCurrent ? 0 : -1;
    }
    document.body.dataset.view = state.view;
    this.layer.value = state.layer;
    document.getElementById("several").checked = state.several;
    this.drawChips();
  }

  drawChips() {
    const { app } = this;
    const { heads } = app.layer();
    if (this.chipsFor !== app.layer()) {
      this.chipsFor = app.layer();
      this.chips.replaceChildren(...heads.map(({ name }, index) => this.chip(name, index)));
      document.getElementById("several-label").hidden = heads.length < 2;
      document.getElementById("all-heads").hidden = heads.length < 2;
    }
    const several = app.state.view === "tokens";
    [...this.chips.children].forEach((chip, index) => {
      const isOn = several ? app.state.shown.has(index) : app.state.head === index;
      chip.setAttribute("aria-pressed", isOn);
      chip.style.setProperty("--head", Colour.headColour(app.palette, index));
    });
  }

  /** A click shows one head alone; in the token view, with Shift or "several", beside others. */
  chip(name, index) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.textContent = Text.shorten(name, 16);
    chip.setAttribute("aria-label", Names.head(name, 40));
    chip.addEventListener("click", (event) => {
      const { layer, view, several } = this.app.state;
      const beside = view === "tokens" && (several || event.shiftKey);
      this.app.goToHead(layer, index, beside);
    });
    return chip;
  }

  /** The next or previous head or layer, round the end. */
  turn(what, step) {
    const { app } = this;
    const { layer, head } = app.state;
    const count = what === "layer" ? app.header.layers.length : app.layer().heads.length;
    const next = ((what === "layer" ? layer : head) + step + count) % count;
    if (what === "layer") app.goToLayer(next);
    else app.goToHead(layer, next);
  }
}
