/**
 * The token view: queries on the left, keys on the right, lines from a token to what it looks at
 * (or to what looks at it), one colour per head. Rows outside the window are not drawn, so the
 * length of the text does not matter; the scroll bar is the browser's.
 */
class TokensView {
  static ROW = 24;
  static TOP = 30;
  static MOST_LINES = 24;
  static WHOLE = 500;

  constructor(app) {
    this.app = app;
    this.element = document.getElementById("tokens");
    this.canvas = this.element.querySelector("canvas");
    this.scroller = document.getElementById("tokens-scroller");
    this.spacer = this.scroller.firstElementChild;
    this.scroller.addEventListener("scroll", () => app.redraw());
    this.scroller.addEventListener("pointermove", (event) => this.point(event));
    this.scroller.addEventListener("pointerleave", () => app.set({ over: null }));
    this.scroller.addEventListener("click", (event) => this.click(event));
    this.shownPick = null;
    this.most = 0;
  }

  draw() {
    const width = this.scroller.clientWidth;
    const height = this.scroller.clientHeight;
    const rows = Math.max(this.app.queries, this.app.keys);
    this.spacer.style.height = `${TokensView.TOP + rows * TokensView.ROW + 8}px`;
    this.followPick(height);
    const painter = Stage.fit(this.canvas, width, height, this.app.palette.font);
    this.paint(painter, width, height);
  }

  /** A file holds all rows of a short text, the window of a long one. */
  exportSize() {
    const rows = Math.max(this.app.queries, this.app.keys);
    const { clientWidth, clientHeight } = this.scroller;
    const whole = TokensView.TOP + rows * TokensView.ROW + 8;
    return [clientWidth, rows <= TokensView.WHOLE ? whole : clientHeight];
  }

  /** Scroll to a token that was chosen elsewhere: by a key, a search, a list. */
  followPick(height) {
    const { pick } = this.app.state;
    if (pick === this.shownPick) return;
    this.shownPick = pick;
    const index = pick?.[pick.side] ?? null;
    if (index === null) return;
    const y = this.offset(pick.side, height) + index * TokensView.ROW;
    if (y >= TokensView.TOP && y <= height - 2 * TokensView.ROW) return;
    const excess = this.excess(pick.side, height);
    const wanted = index * TokensView.ROW - (height - TokensView.TOP) / 2;
    const fraction = excess > 0 ? Math.min(1, Math.max(0, wanted / excess)) : 0;
    this.scroller.scrollTop = fraction * (this.scroller.scrollHeight - height);
  }

  /** How much a column is taller than the window; negative where it is shorter. */
  excess(side, height) {
    return this.app.count(side) * TokensView.ROW - (height - TokensView.TOP - 8);
  }

  /** Where a column's first row stands: columns of different lengths scroll in proportion. */
  offset(side, height) {
    const excess = this.excess(side, height);
    if (excess <= 0) return TokensView.TOP - Math.min(0, excess) / 2;
    const range = this.scroller.scrollHeight - height;
    return TokensView.TOP - (range > 0 ? this.scroller.scrollTop / range : 0) * excess;
  }

  layout(width, height) {
    const strip = this.app.state.shown.size;
    const text = Math.min(230, Math.max(76, width * 0.3));
    const stripWidth = Math.min(7, Math.max(2, 48 / strip));
    return {
      width, height, text, stripWidth,
      left: text + 10,
      right: width - text - 12 - strip * stripWidth,
      columns: { query: this.offset("query", height), key: this.offset("key", height) },
    };
  }

  /** First and last visible row of a column. */
  visible(side, { columns, height }) {
    const first = Math.floor((TokensView.TOP - columns[side]) / TokensView.ROW);
    const last = Math.ceil((height - columns[side]) / TokensView.ROW);
    return [Math.max(0, first), Math.min(this.app.count(side) - 1, last)];
  }

  middle(side, index, { columns }) {
    return columns[side] + (index + 0.5) * TokensView.ROW;
  }

  paint(painter, width, height) {
    const { app } = this;
    const layout = this.layout(width, height);
    const { palette } = app;
    painter.rect(0, 0, width, height, { fill: palette.surface });
    const place = app.current();
    const index = place?.[place.side] ?? null;
    const heads = app.shownHeads();
    const lines = index === null
      ? this.allLines(heads, layout)
      : this.linesOf(place.side, index, heads);
    painter.clipped(0, TokensView.TOP, width, height - TokensView.TOP, () => {
      this.paintLines(painter, lines, layout);
      for (const side of ["query", "key"]) {
        this.paintColumn(painter, side, place, index, heads, layout);
      }
    });
    this.paintCaptions(painter, layout);
  }

  /** The strongest lines of all visible queries. */
  allLines(heads, layout) {
    const [first, last] = this.visible("query", layout);
    const most = Math.max(...heads.map(({ head }) => head.scale));
    return heads.flatMap((one, place) => {
      const lines = [];
      for (let query = first; query <= last; query++) {
        for (const { index: key, reading } of one.head.row(query, 6)) {
          const share = reading.value / most;
          if (share < 0.06) continue;
          lines.push({
            query, key, stroke: one.colour, width: 1 + share, alpha: 0.75 * share,
            shift: this.shift(place, heads.length),
          });
        }
      }
      return lines;
    });
  }

  /** The lines of one token: to the keys it looks at, or from the queries that look at it. All
   * heads share one scale, up to the strongest line. */
  linesOf(side, index, heads) {
    const found = heads.map(({ head }) => side === "query"
      ? head.row(index, TokensView.MOST_LINES)
      : head.column(index, TokensView.MOST_LINES));
    this.most = Math.max(0, ...found.map((entries) => entries[0]?.reading.value ?? 0));
    return heads.flatMap((one, place) => found[place].flatMap(({ index: other, reading }) => {
      const share = reading.value / this.most;
      if (share < 0.01) return [];
      const [query, key] = side === "query" ? [index, other] : [other, index];
      return [{
        query, key, stroke: one.colour, width: 1 + 2.5 * share, alpha: 0.08 + 0.9 * share ** 0.6,
        shift: this.shift(place, heads.length),
      }];
    }));
  }

  /** Lines of several heads between the same tokens lie side by side. */
  shift(place, heads) {
    return (place - (heads - 1) / 2) * Math.min(2.5, 16 / heads);
  }

  paintLines(painter, lines, layout) {
    for (const { query, key, shift, ...style } of lines) {
      painter.curve(layout.left, this.middle("query", query, layout) + shift, layout.right - 4,
        this.middle("key", key, layout) + shift, style);
    }
  }

  paintColumn(painter, side, place, chosen, heads, layout) {
    const { app } = this;
    const [first, last] = this.visible(side, layout);
    const numbered = app.count(side) > 20 && layout.text > 150 && app.token(side, 0) !== null;
    const most = Math.floor((layout.text - (numbered ? 60 : 12)) / 7.5);
    const shade = heads.length === 1 ? heads[0].colour : app.palette.accent;
    for (let index = first; index <= last; index++) {
      const y = this.middle(side, index, layout);
      const isChosen = chosen !== null && place.side === side && chosen === index;
      const shares = chosen === null || place.side === side
        ? []
        : heads.map((one) => this.share(one.head, side, chosen, index));
      const share = Math.max(0, ...shares);
      this.paintToken(painter, side, app.label(side, index, most), y, layout,
        { isChosen, isMatch: app.isMatch(side, index), share, shade, faint: chosen !== null });
      if (side === "key") this.paintStrip(painter, heads, shares, y, layout);
      if (numbered) this.paintPosition(painter, side, index, y, layout);
    }
  }

  /** A token's position, small at the edge, where words repeat and lines come from far away. */
  paintPosition(painter, side, index, y, layout) {
    const [x, align] = side === "query" ? [12, "left"] : [layout.width - 12, "right"];
    const style = { align, fill: this.app.palette.soft, size: 11, alpha: 0.75 };
    painter.text(x, y, Text.count(index), style);
  }

  /** A token's weight over that of the strongest line; 0 where it is not known. */
  share(head, side, chosen, index) {
    const [query, key] = side === "key" ? [chosen, index] : [index, chosen];
    const { kind, value } = head.reading(query, key);
    return kind === "bound" || this.most === 0 ? 0 : value / this.most;
  }

  paintToken(painter, side, label, y, layout, { isChosen, isMatch, share, shade, faint }) {
    const { palette } = this.app;
    const isQuery = side === "query";
    const x = isQuery ? layout.left - 10 : layout.width - layout.text;
    const style = {
      align: isQuery ? "right" : "left",
      fill: isChosen ? palette.surface : palette.ink,
      weight: isChosen || share > 0.5 ? 600 : 400,
      alpha: isChosen || !faint ? 1 : 0.5 + 0.5 * Math.min(1, 2 * share),
    };
    if (isChosen || isMatch || share > 0) {
      const width = painter.measure(label, style) + 14;
      const box = [isQuery ? x + 7 - width : x - 7, y - 11, width, 22];
      if (isMatch) painter.rect(...box, { fill: palette.mark, radius: 6, alpha: 0.4 });
      if (share > 0) painter.rect(...box, { fill: shade, radius: 6, alpha: 0.3 * share });
      if (isChosen) painter.rect(...box, { fill: palette.accent, radius: 6 });
    }
    painter.text(x, y, label, style);
  }

  /** One small block per shown head beside a key, as dark as its weight. */
  paintStrip(painter, heads, shares, y, layout) {
    heads.forEach(({ colour }, place) => {
      if (!shares[place]) return;
      const x = layout.right + place * layout.stripWidth;
      const alpha = Math.min(1, Math.sqrt(shares[place]));
      painter.rect(x, y - 9, layout.stripWidth - 1, 18, { fill: colour, alpha });
    });
  }

  paintCaptions(painter, layout) {
    const { soft } = this.app.palette;
    const style = { fill: soft, size: 11, weight: 600 };
    painter.text(layout.left - 10, 15, "query", { ...style, align: "right" });
    painter.text(layout.width - layout.text, 15, "key", style);
  }

  /** The token under the pointer, or null. */
  find(event) {
    const box = this.scroller.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const layout = this.layout(this.scroller.clientWidth, this.scroller.clientHeight);
    const side = x < layout.left + 12 ? "query" : x > layout.right - 12 ? "key" : null;
    if (side === null || y < TokensView.TOP) return null;
    const index = Math.floor((y - layout.columns[side]) / TokensView.ROW);
    return index >= 0 && index < this.app.count(side) ? { side, index } : null;
  }

  point(event) {
    const found = this.find(event);
    this.scroller.style.cursor = found ? "pointer" : "default";
    const over = found && { query: null, key: null, [found.side]: found.index, side: found.side };
    const { over: before } = this.app.state;
    if (over?.query !== before?.query || over?.key !== before?.key) this.app.set({ over });
  }

  click(event) {
    const found = this.find(event);
    const { pick } = this.app.state;
    const again = found && pick?.side === found.side && pick[found.side] === found.index;
    if (found === null || again) this.app.set({ pick: null, over: null });
    else this.app.choose(found.side, found.index);
    this.shownPick = this.app.state.pick;
  }

  /** Up and down choose the token before and after, left and right the column. */
  key(event) {
    const { app } = this;
    const side = app.state.pick?.side ?? "query";
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / TokensView.ROW) - 2);
    const steps = {
      ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity,
    };
    if (event.key in steps) app.step(side, steps[event.key]);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.cross(event.key);
    else return false;
    return true;
  }

  /** From a query to the key it looks at most, from a key to the query that looks at it most. */
  cross(arrow) {
    const { app } = this;
    const { pick } = app.state;
    const head = app.head();
    if (pick === null || head === null) return;
    const index = pick[pick.side];
    if (arrow === "ArrowRight" && pick.side === "query") {
      app.choose("key", head.row(index, 1)[0]?.index ?? 0);
    } else if (arrow === "ArrowLeft" && pick.side === "key") {
      app.choose("query", head.column(index, 1)[0]?.index ?? 0);
    }
  }
}
