/** Light or dark: the system's choice until the reader makes one. */
const Theme = {
  system: window.matchMedia("(prefers-color-scheme: dark)"),
  chosen: null,
  changed: () => {},

  apply() {
    const system = Theme.system.matches ? "dark" : "light";
    document.documentElement.dataset.theme = Theme.chosen ?? system;
    Theme.changed();
  },

  turn() {
    Theme.chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    Theme.apply();
  },
};
Theme.system.addEventListener("change", Theme.apply);
Theme.apply();
