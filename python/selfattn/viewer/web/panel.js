/**
 * The panel: what is known about the current place, in words and as a table, for eyes and screen
 * readers alike. Every weight stands with its precision.
 */
class Panel {
  static ROWS = 12;

  constructor(app) {
    this.app = app;
    const find = (id) => document.getElementById(id);
    this.heading = find("panel-heading");
    this.about = find("panel-about");
    this.cell = find("panel-cell");
    this.facts = find("panel-facts");
    this.table = find("panel-table");
    this.live = find("live");
    this.text = "";
  }

  draw() {
    const place = this.app.current();
    const head = this.app.head();
    this.cell.replaceChildren();
    this.facts.replaceChildren();
    this.table.replaceChildren();
    if (head === null) {
      const { failed } = this.app.heads.entry(this.app.state.layer, this.app.state.head);
      const about = failed ? `This map cannot be read: ${failed.message}` : "Unpacking";
      this.say(this.headName(), about);
      return;
    }
    const index = place?.[place.side] ?? null;
    if (index === null) this.drawHead(head);
    else this.drawToken(place, index, head);
    this.announce();
  }

  headName() {
    const { state } = this.app;
    const layer = this.app.layer();
    return `${Names.layer(layer.name, 24)}, ${Names.head(layer.heads[state.head].name, 24)}`;
  }

  shortName() {
    return Names.head(this.app.layer().heads[this.app.state.head].name, 12);
  }

  say(heading, about) {
    this.heading.textContent = heading;
    this.about.textContent = about;
  }

  /** Nothing chosen: the map as a whole. */
  drawHead(head) {
    this.say(this.headName(), "Point at a token, or choose one with the arrow keys.");
    for (const [name, value] of Object.entries(head.header.facts)) {
      const title = (ModelView.NAMES.has(name) ? "mean " : "") + ModelView.title(name);
      this.addFact(title, Reading.statistic(value) + ModelView.unit(name));
    }
    this.addFact("stored", this.storage(head));
  }

  storage(head) {
    return {
      floats: "every weight in float32",
      bytes: `weights in 8 bits of the row\u2019s largest, top ${head.top.count} in float32`,
      top: `top ${head.top.count} of each query in float32`,
    }[head.kind];
  }

  drawToken(place, index, head) {
    const { app } = this;
    const { side } = place;
    const other = side === "query" ? "key" : "query";
    this.heading.replaceChildren(this.tokenElement(side, index, 300));
    const heads = this.tableHeads(head);
    const several = heads.length > 1;
    const where = several
      ? `${Names.layer(this.app.layer().name, 24)}, ${heads.length} heads` : this.headName();
    this.about.textContent = `${side} ${Text.count(index)} \u00B7 ${where}`;
    if (place.query !== null && place.key !== null) this.drawCell(place, head);
    const names = side === "query"
      ? ["entropy", "max", "distance", "top_rest"]
      : ["received"];
    for (const name of names) {
      const values = head.statistics[name];
      const title = Panel.TITLES[name] + (several ? `, ${this.shortName()}` : "");
      if (values) this.addFact(title, Reading.statistic(values[index]) + ModelView.unit(name));
    }
    this.drawTable(side, other, index, heads);
  }

  static TITLES = {
    entropy: "entropy", max: "largest weight", distance: "mean distance",
    top_rest: "weight outside the kept", received: "weight received",
  };

  drawCell({ query, key, block }, head) {
    if (!block) {
      const reading = head.reading(query, key);
      this.addCell(`query ${Text.count(query)} \u2192 key ${Text.count(key)}`, reading);
      return;
    }
    const at = [query, key].map((cell, axis) => Math.floor(cell / block[axis]) * block[axis]);
    const end = at.map((cell, axis) =>
      Math.min(cell + block[axis], axis === 0 ? head.queries : head.keys));
    const range = (axis) => end[axis] - at[axis] === 1
      ? Text.count(at[axis])
      : `${Text.count(at[axis])}\u2013${Text.count(end[axis] - 1)}`;
    this.addCell(`strongest of queries ${range(0)}, keys ${range(1)}`, head.strongest(at, end));
    const mean = head.mean(at, end);
    if (mean !== null) this.addCell("mean of the same", mean);
  }

  addCell(title, reading) {
    const label = document.createElement("span");
    label.textContent = title;
    const value = document.createElement("strong");
    value.textContent = Reading.text(reading);
    const note = document.createElement("small");
    note.textContent = {
      exact: "exact, float32", rounded: "rounded when stored", bound: "not stored: at most this",
      zero: "exactly 0",
    }[reading.kind];
    this.cell.append(label, value, note);
  }

  addFact(title, value) {
    const term = document.createElement("dt");
    term.textContent = title;
    const description = document.createElement("dd");
    description.textContent = value;
    this.facts.append(term, description);
  }

  tokenElement(side, index, most) {
    const element = document.createElement("bdi");
    element.className = "token";
    const token = this.app.token(side, index);
    element.textContent = token === null
      ? `position ${Text.count(index)}`
      : Text.shorten(token, most);
    return element;
  }

  /** The heads that the current view shows. */
  tableHeads(active) {
    const shown = this.app.shownHeads();
    return this.app.state.view === "tokens" ? shown : shown.filter(({ head }) => head === active);
  }

  /** The largest weights of the current token, of some heads, the strongest first. */
  drawTable(side, other, index, heads) {
    const best = new Map();
    for (const one of heads) {
      const found = side === "query"
        ? one.head.row(index, Panel.ROWS) : one.head.column(index, Panel.ROWS);
      for (const { index: place, reading } of found) {
        const before = best.get(place);
        if (!before || reading.value > before.reading.value) best.set(place, { reading, one });
      }
    }
    const rows = [...best].sort(([, a], [, b]) => b.reading.value - a.reading.value);
    this.addCaption(side === "query" ? "Looks at" : "Looked at by", rows.length);
    this.addHeadings(["token", other, ...(heads.length > 1 ? ["head"] : []), "weight"]);
    const body = this.table.createTBody();
    for (const [place, { reading, one }] of rows.slice(0, Panel.ROWS)) {
      this.addRow(body, other, place, reading, one, heads.length > 1, rows[0][1].reading.value);
    }
  }

  addCaption(text, rows) {
    this.table.createCaption().textContent = rows ? text : `${text}: nothing that is stored`;
  }

  addHeadings(titles) {
    const row = this.table.createTHead().insertRow();
    for (const title of titles) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = title;
      row.append(cell);
    }
  }

  addRow(body, side, place, reading, { index, colour }, withHead, most) {
    const row = body.insertRow();
    const button = document.createElement("button");
    button.type = "button";
    button.append(this.tokenElement(side, place, 24));
    button.addEventListener("click", () => this.app.choose(side, place));
    row.insertCell().append(button);
    row.insertCell().textContent = Text.count(place);
    if (withHead) {
      const cell = row.insertCell();
      cell.textContent = Text.shorten(this.app.layer().heads[index].name, 8);
      cell.style.color = colour;
    }
    const weight = row.insertCell();
    weight.textContent = Reading.text(reading);
    weight.style.setProperty("--share", `${(100 * reading.value) / most}%`);
    weight.style.setProperty("--bar", colour);
  }

  /** Tell a screen reader about a token that was chosen, not about each that is pointed at. */
  announce() {
    if (this.app.state.over !== null || this.app.state.pick === null) return;
    const { side } = this.app.state.pick;
    const rows = [...this.table.querySelectorAll("tbody tr")].slice(0, 3).map((row) =>
      [...row.cells].map((cell) => cell.textContent).join(" "));
    const text = `${side} ${this.heading.textContent}, ${this.cell.textContent} `
      + `${this.table.caption?.textContent ?? ""}: ${rows.join("; ")}`;
    if (text !== this.text) this.live.textContent = text;
    this.text = text;
  }
}
