/**
 * One unpacked map. Two kinds answer the same questions:
 *
 *   reading(i, j)            the weight of a cell and what is known about it
 *   row(i, most)             [{index, reading}], the largest of a query, largest first
 *   column(j, most)          [{index, reading}], the queries that look at a key most
 *   strongest(from, end)     the largest weight of a block of cells, from [i, j] to before [i, j]
 *   mean(from, end)          their mean, or null where it is not known
 *   rowMax(i)                the largest weight of a query
 *   pyramid("max" | "mean")  its overviews, or null where that one is not there
 */
const entry = (index, reading) => ({ index, reading });
const byValue = (a, b) => b.reading.value - a.reading.value || a.index - b.index;

class Head {
  constructor(header, cells, rows, [queries, keys]) {
    Object.assign(this, { kind: header.kind, scale: header.scale, header, queries, keys });
    this.statistics = Object.fromEntries(
      Object.entries(rows).filter(([, { shape }]) => shape.length === 1)
        .map(([name, { data }]) => [name, data]));
    this.top = rows.top_indices
      ? {
          indices: rows.top_indices.data, weights: rows.top_weights.data,
          count: rows.top_indices.shape[1],
          none: rows.top_indices.data.BYTES_PER_ELEMENT === 2 ? 0xffff : 0xffffffff,
        }
      : { count: 0 };
    this.cells = cells;
    this.pyramids = new Map();
  }

  pyramid(name) {
    if (!this.pyramids.has(name)) {
      const base = this.base(name);
      const pool = name === "max" ? Grid.largest : Grid.mean;
      this.pyramids.set(name, base && new Pyramid(base, pool));
    }
    return this.pyramids.get(name);
  }

  /** The exact weight of a cell among the stored top of its row, or undefined. */
  exact(i, j) {
    const { indices, weights, count } = this.top;
    for (let at = i * count; at < (i + 1) * count; at++) {
      if (indices[at] === j) return weights[at];
    }
    return undefined;
  }

  static make(header, cells, rows, sizes) {
    return new (header.kind === "top" ? TopHead : DenseHead)(header, cells, rows, sizes);
  }
}

/** Every cell is there: float32 ("floats"), or a byte of the row's maximum and the top of each row
 * in float32 ("bytes", quantise_rows of selfattn/viewer/_codes.py). */
class DenseHead extends Head {
  rowMax(i) {
    return this.statistics.max[i];
  }

  /** The weight as well as it is known. */
  weight(i, j) {
    const value = this.cells.cells.data[i * this.keys + j];
    return this.kind === "floats" ? value : (value * this.rowMax(i)) / 255;
  }

  reading(i, j) {
    const value = this.cells.cells.data[i * this.keys + j];
    if (value === 0) return Reading.zero;
    if (this.kind === "floats") return Reading.exact(value);
    const exact = this.exact(i, j);
    if (exact !== undefined) return Reading.exact(exact);
    const unit = this.rowMax(i) / 255;
    return value === 1 ? Reading.bound(1.5 * unit) : Reading.rounded(value * unit, unit / 2);
  }

  strongest(from, end) {
    let [low, high] = [0, 0];
    this.visit(from, end, (least, most) => {
      low = Math.max(low, least);
      high = Math.max(high, most);
    });
    return Reading.between(low, high);
  }

  mean(from, end) {
    let [low, high] = [0, 0];
    this.visit(from, end, (least, most) => {
      low += least;
      high += most;
    });
    const cells = (end[0] - from[0]) * (end[1] - from[1]);
    const rounding = 1 + 2 ** -23;
    return Reading.between(low / cells / rounding, (high / cells) * rounding);
  }

  /** Call back with the limits of each cell of a block. */
  visit([top, left], [bottom, right], see) {
    for (let i = top; i < bottom; i++) {
      for (let j = left; j < right; j++) see(...Reading.limits(this.reading(i, j)));
    }
  }

  row(i, most) {
    return this.largest(this.keys, (j) => this.weight(i, j), most)
      .map((j) => entry(j, this.reading(i, j))).sort(byValue);
  }

  column(j, most) {
    return this.largest(this.queries, (i) => this.weight(i, j), most)
      .map((i) => entry(i, this.reading(i, j))).sort(byValue);
  }

  /** The places of the largest numbers that are not 0, by insertion into a short sorted list. */
  largest(count, weight, most) {
    const places = [];
    const weights = [];
    for (let at = 0; at < count; at++) {
      const value = weight(at);
      if (value === 0 || (places.length === most && value <= weights[most - 1])) continue;
      let slot = Math.min(places.length, most - 1);
      for (; slot > 0 && weights[slot - 1] < value; slot--) {
        places[slot] = places[slot - 1];
        weights[slot] = weights[slot - 1];
      }
      places[slot] = at;
      weights[slot] = value;
    }
    return places;
  }

  base(name) {
    const codes = name === "max" ? this.codes() : this.pyramid("max").base.codes;
    return new Grid(codes, this.queries, this.keys, [1, 1], this.scale,
      [this.queries, this.keys]);
  }

  /** Log codes of all cells. In bytes, log(c m / 255) = log c + log m: a look-up and a sum. */
  codes() {
    const { queries, keys, scale } = this;
    const { data } = this.cells.cells;
    const codes = new Uint8Array(queries * keys);
    if (this.kind === "floats") {
      for (let at = 0; at < codes.length; at++) codes[at] = Codes.encode(data[at], scale);
      return codes;
    }
    const logs = Float64Array.from({ length: 256 }, (_, c) => Math.log(c / 255));
    const codeOf = new Uint8Array(256);
    for (let i = 0; i < queries; i++) {
      const rowLog = Math.log(this.rowMax(i) / scale);
      for (let c = 1; c < 256; c++) codeOf[c] = Codes.fromLog(logs[c] + rowLog);
      for (let at = i * keys; at < (i + 1) * keys; at++) codes[at] = codeOf[data[at]];
    }
    return codes;
  }
}

/** The largest cells of each row are there, and an overview; of other cells a bound is known. */
class TopHead extends Head {
  rowMax(i) {
    return this.top.count ? this.top.weights[i * this.top.count] : this.statistics.max?.[i] ?? 0;
  }

  /** Kept cells of a row; fewer than the slots if the query sees fewer keys. */
  keptCount(i) {
    const { indices, count, none } = this.top;
    let kept = 0;
    while (kept < count && indices[i * count + kept] !== none) kept++;
    return kept;
  }

  /** What every cell of a row outside the kept ones is at most: the smallest kept weight, or 0
   * where slots are free, as then all that the query sees is kept. */
  rowBound(i) {
    const { indices, weights, count, none } = this.top;
    if (count === 0) return this.statistics.max?.[i] ?? this.scale;
    const last = (i + 1) * count - 1;
    return indices[last] === none ? 0 : weights[last];
  }

  reading(i, j) {
    const exact = this.exact(i, j);
    if (exact !== undefined) return Reading.exact(exact);
    if (this.blockIsZero(i, j)) return Reading.zero;
    const bound = this.rowBound(i);
    return bound === 0 ? Reading.zero : Reading.bound(bound);
  }

  /** Log codes of the kept cells, and of each query's bound. */
  kept() {
    if (this.keptCodes === undefined) {
      const { weights } = this.top;
      const codes = new Uint8Array(weights.length);
      for (let at = 0; at < codes.length; at++) codes[at] = Codes.encode(weights[at], this.scale);
      const bounds = new Uint8Array(this.queries);
      for (let i = 0; i < bounds.length; i++) {
        bounds[i] = Codes.encode(this.rowBound(i), this.scale);
      }
      this.keptCodes = { codes, bounds };
    }
    return this.keptCodes;
  }

  /** By the overview where the block has whole blocks of it, else by the kept cells. */
  strongest([top, left], [bottom, right]) {
    const { base } = this.pyramid("max");
    if (this.header.overviewFrom === "stream" && bottom - top >= base.span[0]) {
      let code = 0;
      for (const at of base.blocksOf([top, left], [bottom, right])) {
        code = Math.max(code, base.codes[at]);
      }
      return Codes.reading(code, base.scale);
    }
    let [most, bound] = [0, 0];
    const { indices, weights, count, none } = this.top;
    for (let i = top; i < bottom; i++) {
      bound = Math.max(bound, this.rowBound(i));
      for (let slot = i * count; slot < (i + 1) * count && indices[slot] !== none; slot++) {
        if (indices[slot] >= left && indices[slot] < right) most = Math.max(most, weights[slot]);
      }
    }
    return most >= bound ? Reading.exact(most) : Reading.bound(bound);
  }

  mean(from, end) {
    const base = this.pyramid("mean")?.base;
    if (!base || end[0] - from[0] < base.span[0]) return null;
    let [sum, cells] = [0, 0];
    for (const at of base.blocksOf(from, end)) {
      const area = base.size(Math.floor(at / base.columns), 0) * base.size(at % base.columns, 1);
      sum += area * Codes.decode(base.codes[at], base.scale);
      cells += area;
    }
    return sum > 0 ? Reading.rounded(sum / cells, (sum / cells) * Codes.HALF_STEP) : Reading.zero;
  }

  /** Whether an overview of all cells knows that a cell's whole block is 0. */
  blockIsZero(i, j) {
    if (this.header.overviewFrom !== "stream") return false;
    const { codes, columns, span } = this.pyramid("max").base;
    return codes[Math.floor(i / span[0]) * columns + Math.floor(j / span[1])] === 0;
  }

  row(i, most) {
    const { indices, weights, count } = this.top;
    return Array.from({ length: Math.min(this.keptCount(i), most) }, (_, slot) =>
      entry(indices[i * count + slot], Reading.exact(weights[i * count + slot])));
  }

  column(j, most) {
    const { starts, queries } = this.byKey();
    const { indices, weights, count } = this.top;
    const found = [];
    for (let at = starts[j]; at < starts[j + 1]; at++) {
      const i = queries[at];
      for (let slot = i * count; slot < (i + 1) * count; slot++) {
        if (indices[slot] === j) found.push(entry(i, Reading.exact(weights[slot])));
      }
    }
    return found.sort(byValue).slice(0, most);
  }

  /** The queries that keep each key: queries[starts[j] ... starts[j + 1]]. A counting sort. */
  byKey() {
    if (this.inverse === undefined) {
      const { indices, count, none } = this.top;
      const starts = new Uint32Array(this.keys + 2);
      for (const j of indices ?? []) if (j !== none) starts[j + 2]++;
      for (let j = 2; j < starts.length; j++) starts[j] += starts[j - 1];
      const queries = new Uint32Array(starts[this.keys + 1]);
      for (let at = 0; at < this.queries * count; at++) {
        if (indices[at] !== none) queries[starts[indices[at] + 1]++] = Math.floor(at / count);
      }
      this.inverse = { starts, queries };
    }
    return this.inverse;
  }

  base(name) {
    const grid = this.cells[name];
    if (grid === undefined) return null;
    const { span, scale } = this.header.overview[name];
    return new Grid(grid.data, ...grid.shape, span, scale, [this.queries, this.keys]);
  }
}
