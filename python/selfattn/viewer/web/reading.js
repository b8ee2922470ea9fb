/**
 * A weight with what is known about it, and how it is written.
 *
 *   exact    the float32 that was stored, written so that reading it back gives the same float32
 *   rounded  value, give or take error; the written interval holds the stored one
 *   bound    somewhere between 0 and value
 *   zero     exactly 0
 */
const Reading = (() => {
  const exact = (value) => (value === 0 ? zero : { kind: "exact", value, error: 0 });
  const rounded = (value, error) => ({ kind: "rounded", value, error });
  const bound = (value) => ({ kind: "bound", value, error: value });
  const zero = { kind: "zero", value: 0, error: 0 };

  /** [lowest, highest] that the weight can be. */
  function limits({ kind, value, error }) {
    return kind === "bound" ? [0, value] : [value - error, value + error];
  }

  /** What is known of a number that is between two others. */
  function between(low, high) {
    if (high === 0) return zero;
    if (low === high) return exact(low);
    return low === 0 ? bound(high) : rounded((low + high) / 2, (high - low) / 2);
  }

  /** The shortest decimal that a float32 is the nearest one of. */
  function shortest(value) {
    for (let digits = 1; digits < 9; digits++) {
      const text = value.toPrecision(digits);
      if (Math.fround(Number(text)) === value) return plain(Number(text));
    }
    return plain(Number(value.toPrecision(9)));
  }

  /** A number without an exponent where that is short. */
  function plain(number) {
    if (number !== 0 && Math.abs(number) < 1e-4) return number.toExponential();
    return String(number);
  }

  /** value and error to two digits of the error, which grows by what rounding takes. */
  function withError(value, error) {
    const decimals = Math.max(0, 1 - Math.floor(Math.log10(error)));
    const unit = 10 ** -decimals;
    const shown = Math.ceil(error / unit + 0.5) * unit;
    if (decimals <= 8) return `${value.toFixed(decimals)} \u00B1 ${shown.toFixed(decimals)}`;
    return `${value.toExponential(1)} \u00B1 ${upwards(error + value / 20)}`;
  }

  /** The next number of two digits that is not below. */
  function upwards(value) {
    const unit = 10 ** (Math.floor(Math.log10(value)) - 1);
    return plain(Number((Math.ceil(value / unit - 1e-9) * unit).toPrecision(2)));
  }

  function text(reading) {
    switch (reading.kind) {
      case "exact":
        return shortest(reading.value);
      case "rounded":
        return withError(reading.value, reading.error);
      case "bound":
        return reading.value === 0 ? "0" : `\u2264 ${upwards(reading.value)}`;
      default:
        return "0";
    }
  }

  /** For a label in a cell of the map: two digits, or the one that the precision leaves. */
  function brief({ value, error }) {
    const digits = error > value / 20 ? 1 : 2;
    if (value < 0.0001) return value.toExponential(digits - 1);
    return Number(value).toPrecision(digits).replace(/^0\./, ".");
  }

  /** Four digits of a statistic. */
  const statistic = (value) => plain(Number((value === 0 ? 0 : value).toPrecision(4)));

  return { exact, rounded, bound, zero, limits, between, text, brief, statistic };
})();
