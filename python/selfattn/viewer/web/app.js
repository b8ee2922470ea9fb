/**
 * What is shown: one state, changed by `set` only; every change asks for one drawing in the next
 * frame. A place is {query, key, side}: indices or null, and which of the two it is about.
 */
class App {
  constructor(header, thumbnails) {
    this.header = header;
    this.queries = header.queries;
    this.keys = header.keys;
    this.loaded = 0;
    this.heads = new Heads(header, thumbnails, () => {
      this.loaded += 1;
      this.redraw();
    });
    this.thumbnails = new Thumbnails(this);
    this.listeners = [];
    this.pending = false;
    this.palette = Colour.read();
    const long = Math.max(this.queries, this.keys) > 256;
    this.state = {
      view: long ? "matrix" : "tokens",
      layer: 0,
      head: 0,
      shown: new Set([0]),
      several: false,
      pick: null,
      over: null,
      grid: "max",
      shade: long ? "log" : "root",
      sort: "order",
      matches: { query: new Set(), key: new Set() },
    };
  }

  /** Read the colours again, after the theme changed. */
  recolour() {
    this.palette = Colour.read();
    this.redraw();
  }

  set(change) {
    Object.assign(this.state, change);
    this.redraw();
  }

  /** Draw parts of the page only when something they show has changed: `of` lists those things. */
  onChange(of, draw) {
    let before = [];
    this.listeners.push(() => {
      const now = of(this.state);
      if (now.length === before.length && now.every((part, i) => part === before[i])) return;
      before = now;
      draw();
    });
  }

  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      for (const draw of this.listeners) draw();
    });
  }

  /** The place under the pointer, else the chosen one, else null. */
  current() {
    return this.state.over ?? this.state.pick;
  }

  layer() {
    return this.header.layers[this.state.layer];
  }

  /** The active map, or null while it is on its way. */
  head() {
    return this.heads.get(this.state.layer, this.state.head);
  }

  /** [{index, head, colour}] of the shown heads that are there. */
  shownHeads() {
    return [...this.state.shown].sort((a, b) => a - b).flatMap((index) => {
      const head = this.heads.get(this.state.layer, index);
      return head ? [{ index, head, colour: Colour.headColour(this.palette, index) }] : [];
    });
  }

  /** Show another layer; heads it does not have are dropped. */
  goToLayer(layer) {
    const count = this.header.layers[layer].heads.length;
    const shown = new Set([...this.state.shown].filter((head) => head < count));
    const head = Math.min(this.state.head, count - 1);
    this.set({ layer, head, shown: shown.add(head) });
  }

  /** Show one head alone, or beside those that are shown. */
  goToHead(layer, head, beside = false) {
    const shown = new Set(beside && layer === this.state.layer ? this.state.shown : []);
    if (beside && shown.has(head) && shown.size > 1) {
      shown.delete(head);
      head = this.state.head === head ? [...shown][0] : this.state.head;
    } else {
      shown.add(head);
    }
    this.set({ layer, head, shown });
  }

  count(side) {
    return side === "query" ? this.queries : this.keys;
  }

  /** A token as it is in the file, or null where only its position is known. */
  token(side, index) {
    const { tokens, keyTokens, sameTokens } = this.header;
    const names = side === "query" || sameTokens ? tokens : keyTokens;
    return names === null ? null : names[index];
  }

  /** A token for a label of at most so many characters; its position where there is no token. */
  label(side, index, most) {
    const token = this.token(side, index);
    return token === null ? Text.count(index) : Text.shorten(token, most);
  }

  /** Whether a token is among those that were searched for. */
  isMatch(side, index) {
    return this.state.matches[side].has(index);
  }

  /** Choose a place by one of its tokens. */
  choose(side, index) {
    const other = side === "query" ? "key" : "query";
    this.set({ pick: { [side]: index, [other]: null, side }, over: null });
  }

  /** Move the chosen token by some steps, to the first or last (Infinity) at most. */
  step(side, steps) {
    const at = this.state.pick?.[side] ?? null;
    const last = this.count(side) - 1;
    const next = at === null ? (steps < 0 ? last : 0) : at + steps;
    this.choose(side, Math.min(last, Math.max(0, next)));
  }
}
