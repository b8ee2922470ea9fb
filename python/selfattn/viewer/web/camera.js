/**
 * Which part of a map is seen: cell (x, y) stands at the upper left corner of the area, and a cell
 * is sx times sy pixels. Cells are square unless a map is much longer than it is high.
 */
class Camera {
  static MOST = 64;
  static ROOMY = 44;
  static STRETCHED = 24;

  constructor(queries, keys) {
    Object.assign(this, { queries, keys, x: 0, y: 0, sx: 0, sy: 0, width: 0, height: 0 });
    this.fitted = true;
  }

  /** Follow the area's size; a camera that showed everything goes on showing everything. */
  resize(width, height) {
    if (width === this.width && height === this.height) return;
    Object.assign(this, { width, height });
    if (this.fitted) this.fit();
    else this.clamp();
  }

  fitScales() {
    const across = this.width / this.keys;
    const down = this.height / this.queries;
    const least = Math.min(across, down, Camera.ROOMY);
    if (Math.max(across, down) <= 3 * Math.min(across, down)) return [least, least];
    const side = Math.max(least, Camera.STRETCHED);
    return [Math.min(across, side), Math.min(down, side)];
  }

  fit() {
    [this.sx, this.sy] = this.fitScales();
    this.fitted = true;
    this.clamp();
  }

  /** Whether all of the map is in view. */
  seesAll() {
    return this.keys * this.sx <= this.width + 1 && this.queries * this.sy <= this.height + 1;
  }

  /** Grow by a factor about a point of the area, which keeps showing the same cell. */
  zoom(factor, px, py) {
    const [least, leastDown] = this.fitScales();
    const most = Math.max(Camera.MOST, least, leastDown);
    factor = Math.min(factor, most / Math.max(this.sx, this.sy));
    factor = Math.max(factor, least / this.sx);
    const [x, y] = this.cellAt(px, py);
    this.sx *= factor;
    this.sy *= factor;
    this.x = x - px / this.sx;
    this.y = y - py / this.sy;
    this.fitted = this.sx <= least * 1.001;
    this.clamp();
  }

  pan(dx, dy) {
    this.x -= dx / this.sx;
    this.y -= dy / this.sy;
    this.clamp();
  }

  /** Keep the map in the area, at its upper left, beside the labels, where it is smaller. */
  clamp() {
    const along = (at, cells, scale, size) => {
      const room = cells - size / scale;
      return Math.max(0, Math.min(room, at));
    };
    this.x = along(this.x, this.keys, this.sx, this.width);
    this.y = along(this.y, this.queries, this.sy, this.height);
  }

  /** Move as little as brings a cell into view; null: leave that axis. */
  reveal(query, key) {
    const along = (at, cell, size, scale) => {
      const seen = size / scale;
      const margin = Math.min(1, seen / 4);
      if (cell === null) return at;
      return Math.min(cell - margin, Math.max(at, cell + 1 + margin - seen));
    };
    this.x = along(this.x, key, this.width, this.sx);
    this.y = along(this.y, query, this.height, this.sy);
    this.clamp();
  }

  centre(x, y) {
    this.x = x - this.width / this.sx / 2;
    this.y = y - this.height / this.sy / 2;
    this.clamp();
  }

  cellAt(px, py) {
    return [this.x + px / this.sx, this.y + py / this.sy];
  }

  /** Where a cell's upper left corner stands in the area. */
  place(query, key) {
    return [(key - this.x) * this.sx, (query - this.y) * this.sy];
  }

  /** First and last cell in view along an axis, 0: queries, 1: keys. */
  visible(axis) {
    const [at, scale, size, cells] = axis === 0
      ? [this.y, this.sy, this.height, this.queries]
      : [this.x, this.sx, this.width, this.keys];
    return [Math.max(0, Math.floor(at)), Math.min(cells, Math.ceil(at + size / scale)) - 1];
  }
}
