/**
 * A grid: one byte for each block of a map, logarithmic below the map's largest value (log_codes of
 * selfattn/viewer/_codes.py), so that the largest code of some blocks is the code of their largest
 * weight and a colour is one look-up.
 */
const CODES_PER_OCTAVE = 10;

const Codes = (() => {
  const perOctave = CODES_PER_OCTAVE / Math.LN2;
  const HALF_STEP = 2 ** (0.5 / CODES_PER_OCTAVE) - 1;
  const fractions = Float64Array.from({ length: 256 }, (_, code) =>
    code === 0 ? 0 : 2 ** ((code - 255) / CODES_PER_OCTAVE));

  /** The code of value / scale = e^logarithm. */
  function fromLog(logarithm) {
    const code = Math.round(255 + perOctave * logarithm);
    return code < 1 ? 1 : code > 255 ? 255 : code;
  }

  const encode = (value, scale) => (value > 0 ? fromLog(Math.log(value / scale)) : 0);
  const decode = (code, scale) => scale * fractions[code];

  /** What a code says about the value. */
  function reading(code, scale) {
    if (code === 0) return Reading.zero;
    const value = decode(code, scale);
    if (code === 1) return Reading.bound(value * (1 + HALF_STEP));
    return Reading.rounded(value, value * HALF_STEP);
  }

  return { HALF_STEP, fractions, fromLog, encode, decode, reading };
})();

class Grid {
  /**
   * @param {Uint8Array} codes rows x columns
   * @param {[number, number]} span queries and keys of one block
   * @param {[number, number]} cells queries and keys of the map; the last blocks may have fewer
   */
  constructor(codes, rows, columns, span, scale, cells) {
    Object.assign(this, { codes, rows, columns, span, scale, cells });
  }

  /** Blocks of 2 x 2 of these (1 x 2, 2 x 1: by the factors); pool is Grid.largest or Grid.mean. */
  coarser([down, across], pool) {
    const rows = Math.ceil(this.rows / down);
    const columns = Math.ceil(this.columns / across);
    const span = [this.span[0] * down, this.span[1] * across];
    const coarse = new Grid(new Uint8Array(rows * columns), rows, columns, span, this.scale,
      this.cells);
    pool(this, coarse, down, across);
    return coarse;
  }

  static largest(fine, coarse, down, across) {
    for (let i = 0; i < fine.rows; i++) {
      const target = Math.floor(i / down) * coarse.columns;
      const from = i * fine.columns;
      for (let j = 0, k = target; j < fine.columns; k++) {
        let code = coarse.codes[k];
        for (let end = Math.min(j + across, fine.columns); j < end; j++) {
          if (fine.codes[from + j] > code) code = fine.codes[from + j];
        }
        coarse.codes[k] = code;
      }
    }
  }

  /** Means weighted by the cells that the blocks at the edges really have. */
  static mean(fine, coarse, down, across) {
    const sums = new Float64Array(coarse.columns);
    for (let i = 0; i < fine.rows; i++) {
      const height = fine.size(i, 0);
      const from = i * fine.columns;
      for (let j = 0; j < fine.columns; j++) {
        const width = j === fine.columns - 1 ? fine.size(j, 1) : fine.span[1];
        sums[Math.floor(j / across)] += Codes.fractions[fine.codes[from + j]] * height * width;
      }
      if (i % down === down - 1 || i === fine.rows - 1) {
        const row = Math.floor(i / down);
        for (let k = 0; k < coarse.columns; k++) {
          const area = coarse.size(row, 0) * coarse.size(k, 1);
          coarse.codes[row * coarse.columns + k] = Codes.encode(sums[k] / area, 1);
        }
        sums.fill(0);
      }
    }
  }

  /** Cells along an axis that a block really has. */
  size(block, axis) {
    return Math.min(this.span[axis], this.cells[axis] - block * this.span[axis]);
  }

  /** The places of the blocks that hold the cells from [i, j] to before [i, j]. */
  blocksOf([top, left], [bottom, right]) {
    const places = [];
    for (let i = Math.floor(top / this.span[0]); i * this.span[0] < bottom; i++) {
      for (let j = Math.floor(left / this.span[1]); j * this.span[1] < right; j++) {
        places.push(i * this.columns + j);
      }
    }
    return places;
  }

  /** First and last cell of a block along an axis. */
  range(block, axis) {
    const first = block * this.span[axis];
    return [first, first + this.size(block, axis) - 1];
  }
}

/** A grid at every power of two above its base, made when first asked for. */
class Pyramid {
  constructor(base, pool) {
    this.pool = pool;
    this.levels = new Map([["0,0", base]]);
    this.base = base;
  }

  /** The finest level whose blocks have at least these many cells along each axis. */
  levelFor(cellsDown, cellsAcross) {
    const up = (cells, span, blocks) => {
      const wanted = Math.ceil(Math.log2(Math.max(1, cells / span)));
      return Math.min(wanted, Math.ceil(Math.log2(Math.max(1, blocks))));
    };
    return this.level(up(cellsDown, this.base.span[0], this.base.rows),
      up(cellsAcross, this.base.span[1], this.base.columns));
  }

  level(down, across) {
    const key = `${down},${across}`;
    let grid = this.levels.get(key);
    if (grid === undefined) {
      const step = [down > 0 ? 1 : 0, across > 0 ? 1 : 0];
      const finer = this.level(down - step[0], across - step[1]);
      grid = finer.coarser(step.map((one) => 1 + one), this.pool);
      this.levels.set(key, grid);
    }
    return grid;
  }
}
