/**
 * The model view: every map of the file as a thumbnail, a row per layer, or one list by a
 * statistic. Thumbnails are buttons; arrow keys go from one to the next.
 */
class ModelView {
  /** What is written for the statistics that every file may have; head scores go by their names. */
  static NAMES = new Map([
    ["entropy", "entropy"], ["distance", "distance"], ["max", "largest weight"],
  ]);
  static UNITS = new Map([["entropy", " nats"], ["distance", " tokens"]]);

  constructor(app) {
    this.app = app;
    this.element = document.getElementById("model");
    this.drawn = null;
    this.element.addEventListener("keydown", (event) => this.arrow(event));
  }

  /** The statistics by which all maps can be sorted. */
  static sortable(app) {
    const { entries } = app.heads;
    const names = Object.keys(entries[0].header.facts);
    return names.filter((name) =>
      entries.every((entry) => Object.hasOwn(entry.header.facts, name)));
  }

  static title(fact) {
    return ModelView.NAMES.get(fact) ?? Text.shorten(fact, 40);
  }

  static unit(fact) {
    return ModelView.UNITS.get(fact) ?? "";
  }

  draw() {
    const { sort, layer, head } = this.app.state;
    const key = [sort, this.app.palette];
    if (this.drawn === null || key.some((part, i) => part !== this.drawn[i])) {
      this.drawn = key;
      this.build(sort);
    }
    for (const button of this.element.querySelectorAll("button")) {
      const isCurrent = Number(button.dataset.layer) === layer
        && Number(button.dataset.head) === head;
      button.setAttribute("aria-current", isCurrent);
      button.tabIndex = isCurrent ? 0 : -1;
    }
  }

  build(sort) {
    this.element.replaceChildren();
    const { entries } = this.app.heads;
    this.element.classList.toggle("sorted", sort !== "order");
    if (sort !== "order") {
      const fact = (entry) => entry.header.facts[sort];
      const list = [...entries].sort((a, b) => fact(a) - fact(b));
      this.addRow(null, list, (entry) => [this.place(entry), this.value(entry, sort)]);
      return;
    }
    this.app.header.layers.forEach((layer, index) => {
      const row = entries.filter((entry) => entry.layer === index);
      this.addRow(layer.name, row, (entry) => [Text.shorten(entry.header.name, 12), ""]);
    });
  }

  addRow(name, entries, caption) {
    const row = document.createElement("div");
    row.className = "row";
    if (name !== null) {
      const heading = document.createElement("h3");
      heading.textContent = Names.layer(name, 24);
      row.append(heading);
    }
    const list = document.createElement("div");
    list.className = "maps";
    list.style.setProperty("--count", entries.length);
    for (const entry of entries) list.append(this.button(entry, ...caption(entry)));
    row.append(list);
    this.element.append(row);
  }

  button(entry, title, value) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.layer = entry.layer;
    button.dataset.head = entry.head;
    const facts = Object.keys(entry.header.facts).map((fact) =>
      `${ModelView.title(fact)} ${this.value(entry, fact)}`);
    button.setAttribute("aria-label", [this.place(entry), ...facts].join(", "));
    button.title = [this.place(entry), ...facts].join("\n");
    const source = this.app.thumbnails.of(entry.thumbnail);
    const canvas = document.createElement("canvas");
    canvas.width = source.width;
    canvas.height = source.height;
    canvas.getContext("2d").drawImage(source, 0, 0);
    const label = document.createElement("span");
    label.textContent = title;
    const number = document.createElement("span");
    number.className = "value";
    number.textContent = value;
    button.append(canvas, label, number);
    button.addEventListener("click", () => this.open(entry));
    return button;
  }

  exportSize() {
    return [this.element.clientWidth, this.element.scrollHeight];
  }

  /** For files: the thumbnails and their captions where the browser has laid them out. */
  paint(painter, width, height) {
    const { surface, ink, soft } = this.app.palette;
    painter.rect(0, 0, width, height, { fill: surface });
    const origin = this.element.getBoundingClientRect();
    const boxOf = (element) => {
      const { left, top, width: wide, height: high } = element.getBoundingClientRect();
      return [left - origin.left, top - origin.top + this.element.scrollTop, wide, high];
    };
    for (const canvas of this.element.querySelectorAll("canvas")) {
      painter.image(canvas, [0, 0, canvas.width, canvas.height], boxOf(canvas));
    }
    for (const label of this.element.querySelectorAll("h3, button span")) {
      const [x, y, , high] = boxOf(label);
      const fill = label.className === "value" ? soft : ink;
      painter.text(x, y + high / 2, label.textContent, { fill, size: 11 });
    }
  }

  place(entry) {
    const layer = this.app.header.layers[entry.layer];
    return `${Names.layer(layer.name, 20)}, ${Names.head(entry.header.name, 20)}`;
  }

  value(entry, fact) {
    return Reading.statistic(entry.header.facts[fact]) + ModelView.unit(fact);
  }

  open(entry) {
    this.app.goToHead(entry.layer, entry.head);
    this.app.set({ view: Math.max(this.app.queries, this.app.keys) > 256 ? "matrix" : "tokens" });
  }

  arrow(event) {
    const columns = this.columns();
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    if (!(event.key in steps)) return;
    const buttons = [...this.element.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const next = buttons[at + steps[event.key]];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.app.goToHead(Number(next.dataset.layer), Number(next.dataset.head));
    next.focus();
  }

  /** Thumbnails that stand side by side. */
  columns() {
    const buttons = [...this.element.querySelectorAll("button")];
    const top = buttons[0].offsetTop;
    return buttons.filter((button) => button.offsetTop === top).length;
  }

  key() {
    return false;
  }
}

/** "layer 3" of a name that is a number, else the name. */
const Names = {
  of(kind, name, most) {
    return /^\d+$/.test(name) ? `${kind} ${name}` : Text.shorten(name, most);
  },
  layer: (name, most) => Names.of("layer", name, most),
  head: (name, most) => Names.of("head", name, most),
};
