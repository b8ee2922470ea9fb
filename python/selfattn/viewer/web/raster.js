/**
 * A map's visible part as an image, one pixel per cell or block, kept until something changes.
 *
 * Blocks are the finest ones that are at least a pixel of the screen: of an overview, or where
 * cells are that large, cells. Of a map with its largest cells only, once the overview's blocks get
 * coarser than the screen, each pixel has the colour of the strongest kept cell in it, else the
 * pale colour of what a cell of the row is at most, else, in blocks known to be 0, that of 0.
 */
class Raster {
  /** Pixels of the screen that a kept cell takes at least: single ones are hard to see. */
  static KEPT = 2;

  constructor() {
    this.canvas = document.createElement("canvas");
    this.key = [];
  }

  /** Whether kept cells are drawn one by one, and not an overview. */
  static isSparse(head, camera, ratio) {
    if (!(head instanceof TopHead)) return false;
    const { span } = head.pyramid("max").base;
    return Math.max(...span) > 1
      && Math.max(span[0] * camera.sy, span[1] * camera.sx) * ratio > 2 * Raster.KEPT;
  }

  /**
   * {canvas, x, y, width, height, span}: the image, the cells it covers, the cells of a pixel.
   * @param {TopHead|null} kept where to take kept cells from, null: draw the pyramid
   */
  of(pyramid, kept, camera, ratio, scale, palette) {
    const { x, y, sx, sy, width, height } = camera;
    const key = [pyramid, kept, scale, palette, x, y, sx, sy, width, height, ratio];
    if (key.some((part, i) => part !== this.key[i])) {
      this.key = key;
      this.image = kept === null
        ? this.blocks(pyramid, camera, ratio, scale.colours(palette).strong)
        : this.keptCells(kept, camera, ratio, scale, palette);
    }
    return this.image;
  }

  /** An empty image of the blocks of some span that are in view. */
  prepare(camera, span) {
    const [[top, bottom], [left, right]] = [0, 1].map((axis) =>
      camera.visible(axis).map((cell) => Math.floor(cell / span[axis])));
    const [rows, columns] = [bottom - top + 1, right - left + 1];
    this.canvas.width = columns;
    this.canvas.height = rows;
    const context = this.canvas.getContext("2d");
    const data = context.createImageData(columns, rows);
    const pixels = new Uint32Array(data.data.buffer);
    const finish = () => {
      context.putImageData(data, 0, 0);
      return {
        canvas: this.canvas, x: left * span[1], y: top * span[0], width: columns * span[1],
        height: rows * span[0], span,
      };
    };
    return { top, left, rows, columns, pixels, finish };
  }

  blocks(pyramid, camera, ratio, colours) {
    const grid = pyramid.levelFor(1 / (camera.sy * ratio), 1 / (camera.sx * ratio));
    const { top, left, rows, columns, pixels, finish } = this.prepare(camera, grid.span);
    for (let i = 0, at = 0; i < rows; i++) {
      const from = (top + i) * grid.columns + left;
      for (let j = 0; j < columns; j++) pixels[at++] = colours[grid.codes[from + j]];
    }
    return finish();
  }

  keptCells(head, camera, ratio, scale, palette) {
    const span = [camera.sy, camera.sx].map((size) =>
      2 ** Math.max(0, Math.ceil(Math.log2(Raster.KEPT / (size * ratio)))));
    const { top, left, rows, columns, pixels, finish } = this.prepare(camera, span);
    const { strong, pale } = scale.colours(palette);
    const zero = this.zeroRanges(head, span, left, columns);
    const codes = new Uint8Array(columns);
    for (let i = 0; i < rows; i++) {
      const first = (top + i) * span[0];
      const end = Math.min(first + span[0], head.queries);
      const bound = this.strongest(head, first, end, codes.fill(0), span[1], left);
      const from = i * columns;
      pixels.fill(pale[bound], from, from + columns);
      for (const [a, b] of zero(first, end)) pixels.fill(strong[0], from + a, from + b);
      for (let j = 0; j < columns; j++) if (codes[j] > 0) pixels[from + j] = strong[codes[j]];
    }
    return finish();
  }

  /** The codes of the strongest kept cells of some queries; returns that of their bounds. */
  strongest(head, first, end, codes, across, left) {
    const { indices, count, none } = head.top;
    const kept = head.kept();
    let bound = 0;
    for (let i = first; i < end; i++) {
      bound = Math.max(bound, kept.bounds[i]);
      for (let slot = i * count; slot < (i + 1) * count && indices[slot] !== none; slot++) {
        const j = Math.floor(indices[slot] / across) - left;
        if (j >= 0 && j < codes.length && kept.codes[slot] > codes[j]) codes[j] = kept.codes[slot];
      }
    }
    return bound;
  }

  /** For some queries the ranges of pixels in which every cell is known to be 0. */
  zeroRanges(head, span, left, columns) {
    if (head.header.overviewFrom !== "stream") return () => [];
    const { base } = head.pyramid("max");
    let [known, ranges] = [[-1, -1], []];
    return (first, end) => {
      const rows = [first, end - 1].map((query) => Math.floor(query / base.span[0]));
      if (rows.some((row, i) => row !== known[i])) {
        known = rows;
        ranges = Raster.zeroBlocks(base, rows).map(([from, to]) => [
          Math.max(0, Math.ceil(from / span[1]) - left),
          Math.min(columns, (to < head.keys ? Math.floor : Math.ceil)(to / span[1]) - left),
        ]).filter(([a, b]) => a < b);
      }
      return ranges;
    };
  }

  /** Keys [from, to) of neighbouring blocks that are 0 in all of some rows of blocks. */
  static zeroBlocks(base, [top, bottom]) {
    const isZero = (block) => {
      for (let row = top; row <= bottom; row++) {
        if (base.codes[row * base.columns + block] !== 0) return false;
      }
      return true;
    };
    const ranges = [];
    for (let block = 0; block < base.columns; block++) {
      if (!isZero(block)) continue;
      const [from] = base.range(block, 1);
      while (block + 1 < base.columns && isZero(block + 1)) block++;
      ranges.push([from, base.range(block, 1)[1] + 1]);
    }
    return ranges;
  }
}
