/** Starts the page: the header and thumbnails are unpacked, everything is drawn, maps follow. */
(async () => {
  const header = await Payload.header();
  if (header.format !== 1) throw new Error(`the file has format ${header.format}, expected 1`);
  const thumbnails = await Payload.arrays(header.thumbnails);
  const app = new App(header, Object.values(thumbnails));
  const views = {
    tokens: new TokensView(app), matrix: new MatrixView(app), model: new ModelView(app),
  };
  const controls = new Controls(app, views);
  const panel = new Panel(app);
  new Search(app);
  new Exporter(app, views);
  new Keyboard(app, views, controls);

  document.getElementById("title").textContent = Text.shorten(header.title, 80);
  document.title = Text.shorten(header.title, 80);
  const heads = header.layers.reduce((sum, layer) => sum + layer.heads.length, 0);
  const tokens = header.queries === header.keys
    ? Text.plural(header.queries, "token")
    : `${Text.count(header.queries)} queries \u00D7 ${Text.count(header.keys)} keys`;
  document.getElementById("summary").textContent = [
    Text.plural(header.layers.length, "layer"), Text.plural(heads, "head"), tokens,
  ].join(" \u00B7 ");

  app.onChange(({ view, layer, head, shown, several }) =>
    [view, layer, head, shown, several, app.palette], () => controls.draw());
  app.listeners.push(() => views[app.state.view].draw());
  app.onChange(({ view, layer, head, shown }) =>
    [app.current(), view, layer, head, shown, app.palette, app.loaded], () => panel.draw());
  new ResizeObserver(() => app.redraw()).observe(document.getElementById("stage"));
  document.body.dataset.ready = "true";
  for (const draw of app.listeners) draw();
  performance.mark("selfattn-drawn");
  app.listeners.push(markOnce("selfattn-map-drawn", () => app.head() !== null));

  /** A time stamp for who measures the page, once something holds after a drawing. */
  function markOnce(name, holds) {
    let isDone = false;
    return () => {
      if (!isDone && holds()) performance.mark(name);
      isDone ||= holds();
    };
  }
})().catch((error) => {
  document.getElementById("failure").hidden = false;
  document.getElementById("failure").textContent = `This view cannot be shown: ${error.message}`;
  throw error;
});
