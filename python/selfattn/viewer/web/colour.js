/**
 * Colours: ramps for weights, hues for heads, and the page's own from its style sheet. Mixing is
 * done in Oklab (B. Ottosson, 2020), where equal steps look equal.
 */
const Colour = (() => {
  const STEPS = 256;
  const RAMP_STOPS = 6;

  const toLinear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const fromLinear = (c) => (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055);

  function labOf([red, green, blue]) {
    const [r, g, b] = [red, green, blue].map((c) => toLinear(c / 255));
    const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
    const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
    const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
    return [
      0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
      1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
      0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
    ];
  }

  function rgbOf([lightness, a, b]) {
    const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
    const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
    const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
    return [
      4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
      -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
      -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
    ].map((c) => Math.round(255 * Math.min(1, Math.max(0, fromLinear(Math.max(0, c))))));
  }

  const hexOf = (rgb) => "#" + rgb.map((c) => c.toString(16).padStart(2, "0")).join("");
  const parseHex = (hex) => [1, 3, 5].map((at) => parseInt(hex.trim().slice(at, at + 2), 16));

  function mix(one, other, t) {
    const [from, to] = [labOf(one), labOf(other)];
    return rgbOf(from.map((value, i) => value + t * (to[i] - value)));
  }

  /** STEPS colours through the stops, as [r, g, b]. */
  function ramp(stops) {
    return Array.from({ length: STEPS }, (_, i) => {
      const at = (i / (STEPS - 1)) * (stops.length - 1);
      const stop = Math.min(Math.floor(at), stops.length - 2);
      return mix(stops[stop], stops[stop + 1], at - stop);
    });
  }

  /** Twelve hues, neighbours far apart: five twelfths of the circle from one head to the next. */
  function headHues(lightness, chroma) {
    return Array.from({ length: 12 }, (_, k) => {
      const angle = ((250 + 150 * k) * Math.PI) / 180;
      return hexOf(rgbOf([lightness, chroma * Math.cos(angle), chroma * Math.sin(angle)]));
    });
  }

  /** The palette of the theme in force, read from the style sheet's variables. */
  function read() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(`--${name}`).trim();
    const names = ["paper", "surface", "ink", "soft", "faint", "line", "accent", "mark", "font"];
    const stops = Array.from({ length: RAMP_STOPS }, (_, i) => parseHex(of(`ramp-${i}`)));
    return {
      ...Object.fromEntries(names.map((name) => [name, of(name)])),
      ramp: ramp(stops),
      rampHex: ramp(stops).map(hexOf),
      empty: parseHex(of("empty")),
      heads: headHues(Number(of("head-lightness")), Number(of("head-chroma"))),
    };
  }

  const headColour = (palette, head) => palette.heads[head % palette.heads.length];

  return { read, mix, hexOf, parseHex, headColour };
})();
