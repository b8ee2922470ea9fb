/** Keys that work wherever the focus is, except while something is typed or chosen from a list. */
class Keyboard {
  constructor(app, views, controls) {
    Object.assign(this, { app, views, controls });
    document.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    const target = event.target instanceof Element ? event.target : document.body;
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (target.matches("input, select") || target.closest("dialog")) return;
    const onButton = target.matches("button") && (event.key === "Enter" || event.key === " ");
    if (!onButton && (this.command(event.key) || this.views[this.app.state.view].key(event))) {
      event.preventDefault();
    }
  }

  command(key) {
    const { app, controls } = this;
    const commands = {
      1: () => app.set({ view: "tokens" }),
      2: () => app.set({ view: "matrix" }),
      3: () => app.set({ view: "model" }),
      "/": () => document.getElementById("search").focus(),
      "[": () => controls.turn("head", -1),
      "]": () => controls.turn("head", 1),
      "{": () => controls.turn("layer", -1),
      "}": () => controls.turn("layer", 1),
      a: () => controls.toggleAll(),
      r: () => this.turnRound(),
      t: () => Theme.turn(),
      "?": () => document.getElementById("help").showModal(),
      Escape: () => app.set({ pick: null, over: null }),
    };
    if (!Object.hasOwn(commands, key)) return false;
    commands[key]();
    return true;
  }

  /** From "looks at" to "looked at by" and back, for the chosen token or cell. */
  turnRound() {
    const { pick } = this.app.state;
    if (pick === null) return;
    const side = pick.side === "query" ? "key" : "query";
    if (pick[side] !== null) this.app.set({ pick: { ...pick, side } });
    else if (pick[pick.side] < this.app.count(side)) this.app.choose(side, pick[pick.side]);
  }
}
