/** Labels beside a map: every token where there is room, else positions at round steps. */
class Axes {
  static ROOM = 11;
  static LETTER = 6.6;

  constructor(app, camera) {
    this.app = app;
    this.camera = camera;
    this.longest = { query: this.longestLabel("query"), key: this.longestLabel("key") };
  }

  /** Letters of an axis' longest label, looking at a thousand of them. */
  longestLabel(side) {
    const count = this.app.count(side);
    const step = Math.ceil(count / 1000);
    let longest = Text.count(count).length;
    for (let index = 0; index < count; index += step) {
      longest = Math.max(longest, this.app.label(side, index, 16).length);
    }
    return longest;
  }

  /** The width that the labels of an axis ask for, of at most `most` pixels. */
  gutter(side, most) {
    return Math.min(most, Math.max(58, 20 + Axes.LETTER * this.longest[side]));
  }

  paint(painter, area) {
    this.paintAxis(painter, area, "query");
    this.paintAxis(painter, area, "key");
    const place = this.app.current();
    if (place?.query != null) this.paintTag(painter, area, "query", place.query);
    if (place?.key != null) this.paintTag(painter, area, "key", place.key);
    const { soft } = this.app.palette;
    const caption = { fill: soft, size: 11, weight: 600 };
    painter.text(area.left - 10, area.top - 12, "query \u2193", { ...caption, align: "right" });
    painter.text(area.left - 10, area.top - 28, "key \u2192", { ...caption, align: "right" });
  }

  scale(side) {
    return side === "query" ? this.camera.sy : this.camera.sx;
  }

  /** Every token, or positions at steps of 1, 2 or 5 times a power of ten. */
  paintAxis(painter, area, side) {
    const scale = this.scale(side);
    const [first, last] = this.camera.visible(side === "query" ? 0 : 1);
    const all = scale >= Axes.ROOM;
    const step = all ? 1 : this.step(40 / scale);
    for (let index = Math.ceil(first / step) * step; index <= last; index += step) {
      const text = all ? this.app.label(side, index, this.most(area, side)) : Text.count(index);
      const at = this.at(area, side, index);
      if (at === null) continue;
      const isMatch = this.app.isMatch(side, index);
      const { ink, soft } = this.app.palette;
      const size = all ? Math.min(12, scale - 0.5) : 11;
      const style = { fill: all ? ink : soft, size, weight: isMatch ? 700 : 400 };
      this.write(painter, area, side, at, text, style);
    }
  }

  step(least) {
    const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
    return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= least);
  }

  /** Characters that fit the gutter. */
  most(area, side) {
    return Math.floor(((side === "query" ? area.left : area.top) - 18) / Axes.LETTER);
  }

  /** Where the middle of a row or column stands, or null outside the area. */
  at(area, side, index) {
    const [x, y] = this.camera.place(index + 0.5, index + 0.5);
    const [place, size] = side === "query" ? [y, area.height] : [x, area.width];
    if (place < 0 || place > size) return null;
    return place + (side === "query" ? area.top : area.left);
  }

  write(painter, area, side, at, text, style) {
    if (side === "query") painter.text(area.left - 8, at, text, { ...style, align: "right" });
    else painter.text(at, area.top - 8, text, { ...style, align: "left", turn: -Math.PI / 2 });
  }

  /** The label of the current row or column, on a band of the accent colour. */
  paintTag(painter, area, side, index) {
    const at = this.at(area, side, index);
    if (at === null) return;
    const { accent, surface } = this.app.palette;
    const text = this.app.label(side, index, this.most(area, side));
    const style = { fill: surface, size: 12, weight: 600 };
    const length = Math.min(painter.measure(text, style) + 12,
      (side === "query" ? area.left : area.top) - 4);
    const box = side === "query"
      ? [area.left - 3 - length, at - 9, length, 18]
      : [at - 9, area.top - 3 - length, 18, length];
    painter.rect(...box, { fill: accent, radius: 4 });
    painter.clipped(...box, () => this.write(painter, area, side, at, text, style));
  }
}
