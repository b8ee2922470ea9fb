/** Search for tokens: all that contain a text, capitals or not, and from one to the next. */
class Search {
  constructor(app) {
    this.app = app;
    this.input = document.getElementById("search");
    this.output = document.getElementById("matches");
    this.places = [];
    this.at = -1;
    this.lower = {};
    this.input.addEventListener("input", () => this.find());
    this.input.addEventListener("keydown", (event) => this.press(event));
    document.getElementById("next").addEventListener("click", () => this.go(1));
    document.getElementById("previous").addEventListener("click", () => this.go(-1));
  }

  press(event) {
    if (event.key === "Enter") this.go(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }

  clear() {
    this.input.value = "";
    this.find();
    this.input.blur();
  }

  find() {
    const text = this.input.value.toLowerCase();
    const sides = this.app.header.sameTokens ? ["query"] : ["query", "key"];
    this.places = text === "" ? [] : sides.flatMap((side) => this.matches(side, text));
    this.at = -1;
    const matches = { query: new Set(), key: new Set() };
    for (const { side, index } of this.places) {
      matches[side].add(index);
      if (this.app.header.sameTokens) matches.key.add(index);
    }
    this.app.set({ matches });
    this.tell(text);
  }

  matches(side, text) {
    this.lower[side] ??= Array.from({ length: this.app.count(side) }, (_, index) =>
      (this.app.token(side, index) ?? String(index)).toLowerCase());
    return this.lower[side].flatMap((token, index) =>
      token.includes(text) ? [{ side, index }] : []);
  }

  go(step) {
    const { length } = this.places;
    if (length === 0) return;
    this.at = this.at < 0 ? (step > 0 ? 0 : length - 1) : (this.at + step + length) % length;
    const { side, index } = this.places[this.at];
    this.app.choose(side, index);
    this.tell(this.input.value);
  }

  tell(text) {
    const { length } = this.places;
    const at = this.at < 0 ? "" : `${Text.count(this.at + 1)} of `;
    this.output.textContent = text === "" ? "" : length ? at + Text.count(length) : "none";
  }
}
