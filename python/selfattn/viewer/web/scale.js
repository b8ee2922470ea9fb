/**
 * From codes to colours. The ramp spans the values that a map's overview really has: from its 2nd
 * percentile in the logarithmic shade, from 0 in the others, to its 99.5th. Darker than the top is
 * not possible, so the legend writes "≥" there. Exactly 0 has a colour of its own.
 */
class Scale {
  static SIDE = 128;
  static SAMPLE = 20000;
  static PALE = 0.75;

  /** The scale of an overview, at a size that the eye sees at once. */
  static ofPyramid(pyramid, shade) {
    const { base } = pyramid;
    const grid = pyramid.levelFor(base.cells[0] / Scale.SIDE, base.cells[1] / Scale.SIDE);
    return new Scale(grid.codes, base.scale, shade);
  }

  /** The scale of the kept cells of a map, from all of some rows. */
  static ofKept(head, shade) {
    const { codes } = head.kept();
    const { count } = head.top;
    const step = count * Math.ceil(codes.length / Scale.SAMPLE);
    const sample = [];
    for (let at = 0; at < codes.length; at += step) sample.push(...codes.subarray(at, at + count));
    return new Scale(Uint8Array.from(sample), head.scale, shade);
  }

  constructor(values, unit, shade) {
    this.cache = new WeakMap();
    const codes = values.filter((code) => code > 0).sort();
    const last = codes.length - 1;
    const at = (share) => codes[Math.min(last, Math.floor(share * codes.length))] ?? 255;
    this.shade = shade;
    this.unit = unit;
    this.top = at(0.995);
    this.bottom = Math.min(at(0.02), this.top - 30);
    this.saturates = last >= 0 && codes[last] > this.top;
  }

  /** Where on the ramp, 0 to 1, a code stands. */
  at(code) {
    const share = Codes.fractions[code] / Codes.fractions[this.top];
    const t = {
      log: (code - this.bottom) / (this.top - this.bottom),
      root: Math.sqrt(share),
      linear: share,
    }[this.shade];
    return Math.min(1, Math.max(0, t));
  }

  /** The value of a place on the ramp. */
  valueAt(t) {
    const top = Codes.decode(this.top, this.unit);
    if (this.shade === "linear") return top * t;
    if (this.shade === "root") return top * t * t;
    return top * 2 ** (((t - 1) * (this.top - this.bottom)) / CODES_PER_OCTAVE);
  }

  /** {strong, pale}: colours per code, packed for image data. Pale ones are near the surface's. */
  colours(palette) {
    if (!this.cache.has(palette)) {
      const surface = Colour.parseHex(palette.surface);
      const strong = Array.from({ length: 256 }, (_, code) =>
        code === 0 ? palette.empty : palette.ramp[Math.round(255 * this.at(code))]);
      const pale = strong.map((colour) => Colour.mix(colour, surface, Scale.PALE));
      this.cache.set(palette, { strong: this.packed(strong), pale: this.packed(pale) });
    }
    return this.cache.get(palette);
  }

  packed(colours) {
    const bytes = Uint8ClampedArray.from(colours.flatMap((rgb) => [...rgb, 255]));
    return new Uint32Array(bytes.buffer);
  }
}
