/**
 * Tokens as people can read them. A token may hold anything: nothing at all, line breaks, marks
 * that turn the direction of writing, half a surrogate pair, ten thousand letters.
 */
const Text = (() => {
  const NAMED = { "\n": "\u23CE", "\t": "\u21E5", "\r": "\u240D", "\u007F": "\u2421" };
  // Direction marks, isolates, zero-width space, word joiner, byte order mark; joiners stay, as
  // emoji and several scripts are written with them.
  const INVISIBLE = /[\u061C\u200B\u200E\u200F\u202A-\u202E\u2060-\u2064\u2066-\u206F\uFEFF]/g;
  const CONTROL = /[\u0000-\u001F\u007F]/g;
  // With the u flag a surrogate matches only where its other half is missing.
  const NOT_TEXT = /[\u0080-\u009F\uFFFE\uFFFF\uD800-\uDFFF]/gu;

  const code = (character) => character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");

  /** The token with every character that would not be seen, or would move others, made visible. */
  function visible(token) {
    if (token === "") return "\u2205";
    if (/^\s+$/.test(token)) token = token.replace(/[^\S\n\t\r]/g, "\u2423");
    return token
      .replace(CONTROL, (c) => NAMED[c] ?? String.fromCharCode(0x2400 + c.charCodeAt(0)))
      .replace(INVISIBLE, (c) => `[U+${code(c)}]`)
      .replace(NOT_TEXT, "\uFFFD");
  }

  /** At most `most` characters of a token made visible. */
  function shorten(token, most) {
    const text = visible(token.length > 8 * most ? token.slice(0, 8 * most) : token);
    const characters = Array.from(text);
    return characters.length <= most ? text : characters.slice(0, most - 1).join("") + "\u2026";
  }

  const format = new Intl.NumberFormat("en-US");
  const count = (n) => format.format(n);

  /** "1 head", "12 heads", "100,000 tokens". */
  const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

  return { visible, shorten, count, plural };
})();
